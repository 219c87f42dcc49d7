"""Prompts for chat models, from the rules of any environment."""

from collections.abc import Sequence

from layerbench.agents.types import ActionMode, AnswerForm
from layerbench.envs.types import Observation

_GENERATE = (
    "Think about your next step first, between <think> and </think>. Then give exactly one "
    "action between <action> and </action>, and write nothing after it."
)
_GENERATE_ACTION_ALONE = (
    "Answer with exactly one action between <action> and </action>, and write nothing else."
)
_CHOOSE = "Answer with exactly one of the listed actions, word for word, and nothing else."


class ChatStyle:
    """The environment's rules as system message, then observations with admissible actions.

    Args:
        rules: The environment's rules, in a few sentences.
        action_mode: How a response becomes an action; decides the form that is asked for.
        thinks: Free text is to begin with thoughts.
        answer_form: The form of an action in free text; none is asked for where it is any text,
            whose form is in the rules.
    """

    def __init__(
        self,
        rules: str,
        *,
        action_mode: ActionMode,
        thinks: bool = True,
        answer_form: AnswerForm = AnswerForm.STRICT,
    ) -> None:
        self._chooses = action_mode is ActionMode.CHOOSE
        free_form = _GENERATE if thinks else _GENERATE_ACTION_ALONE
        if answer_form is AnswerForm.TEXT:
            free_form = ""
        self._form = _CHOOSE if self._chooses else free_form
        self.system = _join(rules, self._form)

    def first(self, start: Observation) -> str:
        """Show the first observation and the actions."""
        return _join(start.text, self._listing(start))

    def later(self, start: Observation, observation: Observation) -> str:
        """Show the observation after the last action, and the actions."""
        return _join(observation.text, self._listing(observation))

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        turn: int,
    ) -> str:
        """Show the first observation, the last turns, the latest observation, actions and form."""
        if turn == 0:
            return _join(start.text, self._listing(start), self._form)
        past = [
            f"Turn {number}. You saw: {before.text}\nYou did: {action}"
            for number, (before, action) in enumerate(history, start=turn - len(history) + 1)
        ]
        return _join(
            f"How the episode began:\n{start.text}",
            *past,
            f"Turn {turn + 1}, now. You see: {observation.text}",
            self._listing(observation),
            self._form,
        )

    def _listing(self, observation: Observation) -> str:
        # Choices are for an agent that cannot write: free text may be an action that is not listed.
        choices = observation.choices if self._chooses else ()
        actions = choices or observation.admissible_actions
        return "\n".join(["Possible actions:", *actions]) if actions else ""


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
