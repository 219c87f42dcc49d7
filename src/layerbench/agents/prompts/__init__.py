"""Prompts: styles that build messages from what an environment shows, and its rules."""

from layerbench.agents.prompts.chat import ChatStyle
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.agents.prompts.from_file import FileStyle, parse
from layerbench.agents.prompts.plain import PlainStyle
from layerbench.agents.prompts.style import PromptStyle as PromptStyle
from layerbench.agents.types import ActionMode, AnswerForm
from layerbench.envs.choices import check_known
from layerbench.envs.spec import GENERIC_RULES

_COMPACT = {
    "compact": CompactStyle,
    "compact-webshop": CompactWebShopStyle,
    "plain": PlainStyle,
}

CHAT = "chat"
"""The style for chat models, which any environment can be shown in."""

FILE = "file"
"""The style of a prompt file's words."""

STYLES = (CHAT, FILE, *_COMPACT)
"""Prompt styles by name."""


def style(
    name: str,
    action_mode: ActionMode,
    *,
    rules: str = GENERIC_RULES,
    thinks: bool = True,
    answer_form: AnswerForm = AnswerForm.STRICT,
    prompt_file: str = "",
) -> PromptStyle:
    """Make a prompt style by name; those of few words say nothing about the form of a response.

    Args:
        name: One of ``STYLES``.
        rules: The environment's rules, for the system message of a chat.
        action_mode: How a response becomes an action.
        thinks: Free text begins with thoughts.
        answer_form: The form of an action in free text.
        prompt_file: Content of the prompt file, for ``file``.

    Raises:
        UserError: There is no such style, and the message names the nearest; or the prompt file is
            wrong.
    """
    if name in _COMPACT:
        return _COMPACT[name]()
    check_known("prompt style", name, STYLES)
    if name == FILE:
        return FileStyle(parse(prompt_file))
    return ChatStyle(rules, action_mode=action_mode, thinks=thinks, answer_form=answer_form)
