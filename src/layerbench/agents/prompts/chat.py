"""Prompts for chat models; what an environment adds is its own words."""

from collections.abc import Sequence

from layerbench.agents.types import ActionMode
from layerbench.envs.types import Observation

_GENERATE = (
    "Think about your next step first, between <think> and </think>. Then give exactly one "
    "action between <action> and </action>, and write nothing after it."
)
_GENERATE_AT_ONCE = (
    "Answer with exactly one action between <action> and </action>, and write nothing else."
)
_CHOOSE = "Answer with exactly one of the listed actions, word for word, and nothing else."


class ChatStyle:
    """The environment's rules as system message, then observations with the actions there are.

    Args:
        rules: What the environment is about, in a few sentences.
        action_mode: Decides what the model is told about the form of its answer.
        thinks: It is asked for thoughts before an action of its own words.
    """

    def __init__(self, rules: str, *, action_mode: ActionMode, thinks: bool = True) -> None:
        self._chooses = action_mode is ActionMode.CHOOSE
        freely = _GENERATE if thinks else _GENERATE_AT_ONCE
        self._form = _CHOOSE if self._chooses else freely
        self.system = f"{rules}\n\n{self._form}"

    def first(self, start: Observation) -> str:
        """Give the opening and the actions."""
        return _join(start.text, self._listing(start))

    def later(self, start: Observation, now: Observation) -> str:
        """Give what the last action led to and the actions."""
        return _join(now.text, self._listing(now))

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        now: Observation,
        turn: int,
    ) -> str:
        """Give the opening, the last turns, what is seen now, the actions and the form."""
        if turn == 0:
            return _join(start.text, self._listing(start), self._form)
        told = [
            f"Turn {number}. You saw: {seen.text}\nYou did: {action}"
            for number, (seen, action) in enumerate(history, start=turn - len(history) + 1)
        ]
        return _join(
            f"How the episode began:\n{start.text}",
            *told,
            f"Turn {turn + 1}, now. You see: {now.text}",
            self._listing(now),
            self._form,
        )

    def _listing(self, observation: Observation) -> str:
        chosen_from = observation.choices if self._chooses else ()
        actions = chosen_from or observation.admissible_actions
        return "\n".join(["Possible actions:", *actions]) if actions else ""


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
