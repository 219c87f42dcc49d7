"""Prompts without any words of their own, for a small model that can read any text."""

from collections.abc import Sequence

from layerbench.envs.types import Observation


class PlainStyle:
    """The observations alone. Admissible actions are not listed, which ``choose`` knows anyway."""

    system = ""

    def first(self, start: Observation) -> str:
        """Show the first observation."""
        return start.text

    def later(self, start: Observation, observation: Observation) -> str:
        """Show the observation after the last action."""
        del start
        return observation.text

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        turn: int,
    ) -> str:
        """Show the first observation, the last turns and the latest observation."""
        if turn == 0:
            return start.text
        past = [f"{before.text}\n> {action}" for before, action in history]
        return "\n".join([start.text, *past, observation.text])
