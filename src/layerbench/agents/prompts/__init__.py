"""Prompts: one file of words for each environment, and the styles that put them together."""

import difflib

from layerbench.agents.prompts import alfworld, generic, keydoor, webshop
from layerbench.agents.prompts.chat import ChatStyle
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.agents.prompts.style import PromptStyle as PromptStyle
from layerbench.agents.types import ActionMode

_RULES = {
    "alfworld": alfworld.RULES,
    "generic": generic.RULES,
    "keydoor": keydoor.RULES,
    "webshop": webshop.RULES,
}

_COMPACT = {"compact": CompactStyle, "compact-webshop": CompactWebShopStyle}

STYLES = (*_RULES, *_COMPACT)
"""Names that ``style`` knows."""


def style(name: str, action_mode: ActionMode, *, thinks: bool = True) -> PromptStyle:
    """Make a prompt style by name; compact ones say nothing about the form of an answer.

    Args:
        name: One of ``STYLES``.
        action_mode: How a response becomes an action.
        thinks: Free text begins with thoughts.

    Raises:
        ValueError: There is no such style; the message names the nearest.
    """
    if name in _COMPACT:
        return _COMPACT[name]()
    if name not in _RULES:
        close = difflib.get_close_matches(name, STYLES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(STYLES)}"
        raise ValueError(f"no prompt style named '{name}': {hint}")
    return ChatStyle(_RULES[name], action_mode=action_mode, thinks=thinks)
