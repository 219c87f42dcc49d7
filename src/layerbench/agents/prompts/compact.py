"""Prompts of the embedded model for ALFWorld and code: the observation, then the task again."""

import re
from collections.abc import Sequence

from layerbench.envs.types import Observation

_LISTING = re.compile(r"you see (?P<listing>.*?)\.\s*\n", re.DOTALL)
# Without its full stop, which the messages put after the task themselves.
_TASK = re.compile(r"Your task is to: (?P<task>.*?)\.?\s*$", re.DOTALL)


class CompactStyle:
    """A task in few words, for a model with a vocabulary of a few hundred.

    Every message ends with the task, so that a small model finds it next to the action.
    """

    system = ""

    def first(self, start: Observation) -> str:
        """Show the receptacles in the room, or what else stands before the task, and the task."""
        listing = _LISTING.search(start.text)
        room = listing["listing"] if listing else _TASK.sub("", start.text.strip())
        return f"Room: {room}. Task: {_task(start)}."

    def later(self, start: Observation, observation: Observation) -> str:
        """Show the observation after the last action, and the task."""
        return f"{observation.text} Task: {_task(start)}."

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        turn: int,
    ) -> str:
        """Show the first observation, the last turns and the latest observation."""
        past = [f"{action}. {before.text}" for before, action in history]
        if turn == 0:
            return self.first(start)
        return " ".join([self.first(start), *past, self.later(start, observation)])


def _task(start: Observation) -> str:
    match = _TASK.search(start.text.strip())
    return match["task"] if match else start.text
