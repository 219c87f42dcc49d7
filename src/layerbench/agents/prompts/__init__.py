"""Prompts: one file of rules for each environment, and the styles that build messages."""

from layerbench.agents.prompts import alfworld, generic, keydoor, webshop
from layerbench.agents.prompts.chat import ChatStyle
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.agents.prompts.style import PromptStyle as PromptStyle
from layerbench.agents.types import ActionMode
from layerbench.envs.choices import check_known

_RULES = {
    "alfworld": alfworld.RULES,
    "generic": generic.RULES,
    "keydoor": keydoor.RULES,
    "webshop": webshop.RULES,
}

_COMPACT = {"compact": CompactStyle, "compact-webshop": CompactWebShopStyle}

STYLES = (*_RULES, *_COMPACT)
"""Prompt styles by name."""


def style(name: str, action_mode: ActionMode, *, thinks: bool = True) -> PromptStyle:
    """Make a prompt style by name; compact ones say nothing about the form of a response.

    Args:
        name: One of ``STYLES``.
        action_mode: How a response becomes an action.
        thinks: Free text begins with thoughts.

    Raises:
        ValueError: There is no such style; the message names the nearest.
    """
    if name in _COMPACT:
        return _COMPACT[name]()
    check_known("prompt style", name, STYLES)
    return ChatStyle(_RULES[name], action_mode=action_mode, thinks=thinks)
