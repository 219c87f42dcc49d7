"""The embedded model's prompt: the observation, then the task again, close to the decision."""

import re
from collections.abc import Sequence

from layerbench.envs.types import Observation

_LISTING = re.compile(r"you see (?P<listing>.*?)\.\s*\n", re.DOTALL)
_TASK = re.compile(r"Your task is to: (?P<task>.*?)\.?\s*$", re.DOTALL)


class CompactStyle:
    """ALFWorld in few words, for a model with a vocabulary of a few hundred."""

    system = ""

    def first(self, start: Observation) -> str:
        """Give the receptacles in the room and the task."""
        listing = _LISTING.search(start.text)
        room = listing["listing"] if listing else start.text
        return f"Room: {room}. Task: {_task(start)}."

    def later(self, start: Observation, now: Observation) -> str:
        """Give what the last action led to, and the task."""
        return f"{now.text} Task: {_task(start)}."

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        now: Observation,
        turn: int,
    ) -> str:
        """Give the opening, the last turns and the present observation."""
        told = [f"{action}. {seen.text}" for seen, action in history]
        if turn == 0:
            return self.first(start)
        return " ".join([self.first(start), *told, self.later(start, now)])


def _task(start: Observation) -> str:
    found = _TASK.search(start.text.strip())
    return found["task"] if found else start.text
