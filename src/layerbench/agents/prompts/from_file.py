"""Prompts in the words of a file, for models that were trained on words of their own.

The file is TOML: texts with fields in braces, of which ``{{`` and ``}}`` are braces themselves.
``docs/panels.md`` lists texts and fields.
"""

import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from layerbench.envs.choices import nearest
from layerbench.envs.types import Observation
from layerbench.errors import UserError

MOST_BYTES = 20_000
"""Length of a prompt file, whose content is part of a run's settings."""

_OF_PROMPT = (
    *("task", "start", "observation", "page", "actions"),
    *("history", "history_length", "step", "steps_taken"),
)
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "system": (),
    "prompt": _OF_PROMPT,
    "first_prompt": _OF_PROMPT,
    "turn": ("step", "observation", "page", "action"),
    "between_turns": (),
    "action": ("action",),
    "between_actions": (),
}
_SHOWN_AS = "shown_as"
_SEPARATOR = " [SEP] "
_TASK = "Your task is to: "


@dataclass(frozen=True, slots=True)
class PromptTemplates:
    """The texts of a prompt file; each but ``shown_as`` has fields in braces.

    Attributes:
        prompt: The prompt of a turn.
        system: The system message; empty for none.
        first_prompt: The prompt of the first turn; None for ``prompt``.
        turn: One past turn, of which ``{history}`` is made.
        between_turns: Text between two past turns.
        action: One admissible action, of which ``{actions}`` is made.
        between_actions: Text between two admissible actions.
        shown_as: Admissible actions in other words, by the environment's; empty leaves one out.
    """

    prompt: str
    system: str = ""
    first_prompt: str | None = None
    turn: str = ""
    between_turns: str = "\n"
    action: str = "{action}"
    between_actions: str = "\n"
    shown_as: Mapping[str, str] = field(default_factory=dict[str, str])


def parse(text: str, *, where: str = "the prompt file") -> PromptTemplates:
    """Read a prompt file, and check the fields of each text.

    Raises:
        UserError: It is no TOML, has no ``prompt``, or a text or field that there is not; the
            message has the nearest.
    """
    try:
        entries = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{where} is no TOML: {' '.join(str(error).split())}") from error
    shown_as = _table(entries.pop(_SHOWN_AS, {}), where=where)
    texts = {name: _checked(name, value, where=where) for name, value in entries.items()}
    if "prompt" not in texts:
        raise UserError(f'{where} has no text prompt: give one, such as prompt = "{{observation}}"')
    used = {name for text in texts.values() for name in _names(text)}
    if "history" in used and "turn" not in texts:
        raise UserError(f"{where} has the field {{history}}, and no text turn: say how one is told")
    return PromptTemplates(**texts, shown_as=shown_as)


class FileStyle:
    """Words a prompt a turn by the texts of a file, as one message."""

    def __init__(self, templates: PromptTemplates) -> None:
        self._templates = templates
        self.system = templates.system.format()

    def first(self, start: Observation) -> str:
        """Word the prompt of the first turn."""
        return self.window(start, [], start, 0)

    def later(self, start: Observation, observation: Observation) -> str:
        """Refuse: a transcript's messages have neither history nor the number of the turn."""
        raise UserError("a prompt file words one prompt a turn: take agent.context_mode=window")

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        turn: int,
    ) -> str:
        """Word the prompt of a turn."""
        texts, task = self._templates, _task(start)
        past = [
            texts.turn.format(
                step=step,
                observation=before.text,
                page=_page(before, task),
                action=action,
            )
            for step, (before, action) in enumerate(history, start=turn - len(history) + 1)
        ]
        template = texts.prompt if turn else texts.first_prompt
        return (texts.prompt if template is None else template).format(
            task=task,
            start=start.text,
            observation=observation.text,
            page=_page(observation, task),
            actions=self._actions(observation),
            history=texts.between_turns.format().join(past),
            history_length=len(past),
            step=turn + 1,
            steps_taken=turn,
        )

    def _actions(self, observation: Observation) -> str:
        texts = self._templates
        shown = [texts.shown_as.get(action, action) for action in observation.admissible_actions]
        return texts.between_actions.format().join(
            texts.action.format(action=action) for action in shown if action
        )


def _checked(name: str, value: Any, *, where: str) -> str:  # noqa: ANN401 - TOML
    if name not in _FIELDS:
        known = [*_FIELDS, _SHOWN_AS]
        raise UserError(f"{where} has no text named '{name:.80}': {nearest(name, known)}")
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} must be text in quotes, got {value!r:.80}")
    try:
        fields = list(string.Formatter().parse(value))
    except ValueError as error:
        raise UserError(
            f"{where}: {name} has a brace alone ({error}): write {{{{ or }}}} for one"
        ) from error
    for _, found, form, conversion in fields:
        if found is None:
            continue
        known = _FIELDS[name]
        if form or conversion:
            raise UserError(f"{where}: {name} has {{{found:.40}}} in another form: its name alone")
        if found not in known:
            hint = nearest(found, known) if known else "it has none"
            raise UserError(f"{where}: {name} has no field {{{found:.40}}}: {hint}")
    return value


def _table(value: object, *, where: str) -> dict[str, str]:
    table = cast(dict[str, object], value) if isinstance(value, dict) else None
    if table is None or not all(isinstance(text, str) for text in table.values()):
        raise UserError(f"{where}: {_SHOWN_AS} must be a table of texts by action")
    return {action: str(text) for action, text in table.items()}


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def _task(start: Observation) -> str:
    """Take the task out of the first observation, which is it where it names none apart."""
    parts = start.text.split(_SEPARATOR)
    if "Instruction:" in parts[:-1]:
        return parts[parts.index("Instruction:") + 1]
    _, named, task = start.text.partition(_TASK)
    return task.strip() if named else start.text.strip()


def _page(observation: Observation, task: str) -> str:
    """Write a page of WebShop behind its instruction, each part in quotes; else the observation."""
    parts = observation.text.split(_SEPARATOR)
    if task not in parts:
        return observation.text
    return _SEPARATOR.join(f"'{part}'" for part in parts[parts.index(task) + 1 :])
