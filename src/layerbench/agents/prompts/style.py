"""Protocol for prompt styles."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from layerbench.envs.types import Observation


@runtime_checkable
class PromptStyle(Protocol):
    """Observations and past turns as messages, without any chat template."""

    @property
    def system(self) -> str:
        """The system message; empty for none."""
        ...

    def first(self, start: Observation) -> str:
        """Word the first message of a transcript."""
        ...

    def later(self, start: Observation, observation: Observation) -> str:
        """Word a later message of a transcript; the model still reads all earlier ones."""
        ...

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        turn: int,
    ) -> str:
        """Word a prompt of one message, which shows the last turns.

        Args:
            start: The first observation of the episode.
            history: Observation and action of each of the last turns, oldest first.
            observation: The latest observation, which the response is to.
            turn: Number of the turn, from 0.
        """
        ...
