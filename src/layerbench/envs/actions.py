"""Matches actions against lists of admissible actions, which may hold templates.

A template such as ``search[<query>]`` ends in a word in angle brackets inside square brackets, and
admits any argument there.
"""

import re
from collections.abc import Sequence

_TEMPLATE_END = re.compile(r"\[<\w+>\]$")
# Greedy, as in WebShop: with several opening brackets the argument begins at the last one.
_ARGUMENT = re.compile(r"(.+)\[(.+)\]", re.DOTALL)


def is_template(action: str) -> bool:
    """Tell whether a listed action is a template.

    >>> is_template("search[<query>]"), is_template("click[< prev]"), is_template("look")
    (True, False, False)
    """
    return bool(_TEMPLATE_END.search(action))


def admits(listed: Sequence[str], action: str) -> bool:
    """Tell whether an action is listed, or fits a listed template.

    The argument in square brackets is lowered first, as WebShop does.

    >>> admits(["search[<query>]", "click[a]"], "search[red hat]")
    True
    >>> admits(["click[next >]"], "click[Next >]"), admits(["click[a]"], "Click[a]")
    (True, False)
    """
    if action in listed:
        return True
    match = _ARGUMENT.fullmatch(action)
    if match is None:
        return False
    name = match[1]
    return f"{name}[{match[2].lower()}]" in listed or any(
        is_template(entry) and entry.startswith(f"{name}[") for entry in listed
    )
