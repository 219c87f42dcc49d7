"""The types of the checks: a submitted record, and the remarks on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_SELECTION, RunRecord

Tell = Callable[[str, int, int | None], None]
"""Receives what is being checked, how much of it is done, and of how much; None if unknown."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A record of valid form, with its folder.

    Attributes:
        folder: Folder of the record; any of a run's other files may be missing.
        record: The record.
        config: The record's settings.
        here: The same, with the tasks where they lie on this machine.
        tell: Receives what is being checked.
        obstacle: Why its tasks cannot be played on this machine; empty where they can.
    """

    folder: RunFolder
    record: RunRecord
    config: RunConfig
    here: RunConfig
    tell: Tell
    obstacle: str = ""

    @property
    def trains(self) -> bool:
        """Whether the settings train anything in this run."""
        return self.changes and not self.config.parts

    @property
    def changes(self) -> bool:
        """Whether the settings change the model: by training, or by combining trained layers."""
        return self.config.layers != BASE_SELECTION


@dataclass(frozen=True, slots=True)
class Wrong:
    """A contradiction, in one line."""

    what: str


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Something that could not be checked, and why, in one line."""

    what: str


Remark = Wrong | Unchecked
Check = Callable[[Submission], Iterator[Remark]]
"""Yields its remarks; none means that everything it covers was checked and holds."""
