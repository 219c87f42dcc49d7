"""What a tracker is told of a run, and what it does with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

PROJECT = "layerbench"
"""Name of the project, or experiment, that runs are in unless the environment names another."""


FINISH_S, INTERRUPTED_S = 60.0, 10.0
"""Longest time for a tracker to store what it was sent, once a run is finished or interrupted."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as a tracker is told of it.

    Attributes:
        name: Name of the run's folder.
        key: Text that all starts of this run share, and no other run has.
        folder: The run's folder.
        settings: All settings by name, as in the record.
    """

    name: str
    key: str
    folder: Path
    settings: Mapping[str, Any]


@runtime_checkable
class Tracker(Protocol):
    """One run in a tracker's store, open for what follows.

    Attributes:
        logged: Last step that the store has of each metric, from earlier starts of the run.
        first: First step that it takes.
    """

    logged: Mapping[str, int]
    first: int

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Store metrics of a step."""
        ...

    def finish(self, *, finished: bool) -> None:
        """Store what is not stored yet; the run is finished, or was interrupted."""
        ...
