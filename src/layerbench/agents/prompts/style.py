"""What every way of wording prompts offers."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from layerbench.envs.types import Observation


@runtime_checkable
class PromptStyle(Protocol):
    """Observations and history as messages, without any chat template."""

    @property
    def system(self) -> str:
        """The system message; empty for none."""
        ...

    def first(self, start: Observation) -> str:
        """Word the first message of a transcript."""
        ...

    def later(self, start: Observation, now: Observation) -> str:
        """Word a later message of a transcript, which the model reads after all before."""
        ...

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        now: Observation,
        turn: int,
    ) -> str:
        """Word the only message of a prompt that tells the last turns.

        Args:
            start: The first observation of the episode.
            history: The last turns: what was seen, and the action it was answered with.
            now: What is to be answered.
            turn: Its number, from 0.
        """
        ...
