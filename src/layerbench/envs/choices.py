"""Checks a name against a list of known names, with a 'did you mean' hint."""

import difflib
from collections.abc import Collection

from layerbench.errors import UserError


def nearest(name: str, known: Collection[str]) -> str:
    """Suggest the known name closest to a mistyped one, or list all of them.

    >>> nearest("grop", ["gigpo", "grpo"])
    "did you mean 'grpo'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def check_known(noun: str, name: object, known: Collection[str]) -> None:
    """Refuse a name that is not known.

    >>> check_known("anchor", "stat", ("state", "observation"))
    Traceback (most recent call last):
    layerbench.errors.UserError: no anchor named 'stat': did you mean 'state'?

    Raises:
        UserError: The name is not known; the message has the hint of ``nearest``.
    """
    if name not in known:
        raise UserError(f"no {noun} named '{name}': {nearest(str(name), known)}")
