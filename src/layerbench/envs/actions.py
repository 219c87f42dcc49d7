"""Lists of actions in which an entry may stand for many.

``search[<query>]`` is such a template: a word in angle brackets alone in square ones, at the end.
"""

import re
from collections.abc import Sequence

_BLANK = re.compile(r"\[<\w+>\]$")
# Greedy, as WebShop reads actions: of more than one bracket the last one opens the argument.
_ARGUMENT = re.compile(r"(.+)\[(.+)\]", re.DOTALL)


def is_template(action: str) -> bool:
    """Tell whether a listed action stands for many.

    >>> is_template("search[<query>]"), is_template("click[< prev]"), is_template("look")
    (True, False, False)
    """
    return bool(_BLANK.search(action))


def admits(listed: Sequence[str], action: str) -> bool:
    """Tell whether an action is listed, or is what a template stands for.

    What stands in square brackets is heard in lower case, as WebShop does.

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
