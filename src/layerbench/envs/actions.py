"""Reads actions, and matches them against lists of admissible actions, which may hold templates.

A template such as ``search[<query>]`` ends in a word in angle brackets inside square brackets, and
admits any argument there. The environments of this package read actions by these functions as well,
so that an action counts as valid where it does something.
"""

import re
from collections.abc import Sequence

_TEMPLATE_END = re.compile(r"\[<\w+>\]$")
# Greedy and on one line, as in WebShop: with several opening brackets the argument begins at the
# last one.
_ARGUMENT = re.compile(r"(.+)\[(.+)\]")


def is_template(action: str) -> bool:
    """Tell whether a listed action is a template.

    >>> is_template("search[<query>]"), is_template("click[< prev]"), is_template("look")
    (True, False, False)
    """
    return bool(_TEMPLATE_END.search(action))


def plain(action: str) -> str:
    """Read an action without argument: spaces around it do not count.

    >>> plain(" go to bed 1 ")
    'go to bed 1'
    """
    return action.strip()


def with_argument(action: str) -> tuple[str, str]:
    r"""Read an action with an argument in square brackets as WebShop does; empty if it has none.

    The argument is lowered, and text behind it is ignored.

    >>> with_argument("click[Buy Now]."), with_argument("buy now"), with_argument("a[b\nc]")
    (('click', 'buy now'), ('', ''), ('', ''))
    """
    match = _ARGUMENT.match(action)
    return (match[1], match[2].lower()) if match else ("", "")


def admits(listed: Sequence[str], action: str) -> bool:
    """Tell whether an action is listed, or fits a listed template.

    Where a template is listed, actions are read by ``with_argument``, else by ``plain``.

    >>> admits(["search[<query>]", "click[a]"], "search[red hat]")
    True
    >>> admits(["search[<query>]", "click[next >]"], "click[Next >].")
    True
    >>> admits(["search[<query>]", "click[a]"], "Click[a]"), admits(["look"], "Look")
    (False, False)
    >>> admits(["look"], " look"), admits(["press[a]"], "press[A]")
    (True, False)
    """
    if action in listed:
        return True
    templates = [entry for entry in listed if is_template(entry)]
    if not templates:
        return plain(action) in listed
    name, argument = with_argument(action)
    return bool(name) and (
        f"{name}[{argument}]" in listed or any(entry.startswith(f"{name}[<") for entry in templates)
    )
