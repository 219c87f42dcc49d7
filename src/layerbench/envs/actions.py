"""Lists of actions in which an entry may stand for many.

``search[<query>]`` is such a template: a word in angle brackets alone in square ones, at the end.
"""

import re
from collections.abc import Sequence

_BLANK = re.compile(r"\[<\w+>\]$")


def is_template(action: str) -> bool:
    """Tell whether a listed action stands for many.

    >>> is_template("search[<query>]"), is_template("click[< prev]"), is_template("look")
    (True, False, False)
    """
    return bool(_BLANK.search(action))


def admits(listed: Sequence[str], action: str) -> bool:
    """Tell whether an action is listed, or is what a template stands for.

    >>> admits(["search[<query>]", "click[a]"], "search[red hat]")
    True
    """
    return action in listed or any(
        action.startswith(_start(entry)) and action.endswith("]") and action != f"{_start(entry)}]"
        for entry in listed
        if is_template(entry)
    )


def _start(template: str) -> str:
    """Give what every action of a template begins with, the square bracket included."""
    return template[: template.rindex("<")]
