"""Words of which one is to be chosen, and what is said about any other."""

import difflib
from collections.abc import Collection


def nearest(word: str, known: Collection[str]) -> str:
    """Say which name was meant, or which there are.

    >>> nearest("grop", ["gigpo", "grpo"])
    "did you mean 'grpo'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def check_known(kind: str, word: object, known: Collection[str]) -> None:
    """Refuse a word that is none of the known ones.

    >>> check_known("anchor", "stat", ("state", "observation"))
    Traceback (most recent call last):
    ValueError: no anchor named 'stat': did you mean 'state'?

    Raises:
        ValueError: With the nearest of the known words, or all of them.
    """
    if word not in known:
        raise ValueError(f"no {kind} named '{word}': {nearest(str(word), known)}")
