"""What is checked, and what a check can say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_SELECTION, RunRecord


@dataclass(frozen=True, slots=True)
class Submission:
    """A record that has the right form, with the folder it lies in.

    Attributes:
        folder: Of the run; of its other files, any may be missing.
        record: Its record.
        config: The record's settings.
    """

    folder: RunFolder
    record: RunRecord
    config: RunConfig

    @property
    def trains(self) -> bool:
        """Whether anything was to learn in this run."""
        return self.changes and not self.config.parts

    @property
    def changes(self) -> bool:
        """Whether the model was to become another: trained, or combined from trained layers."""
        return self.config.layers != BASE_SELECTION


@dataclass(frozen=True, slots=True)
class Wrong:
    """A contradiction, in one line."""

    what: str


@dataclass(frozen=True, slots=True)
class Unchecked:
    """What could not be checked, and why, in one line."""

    what: str


Remark = Wrong | Unchecked
Check = Callable[[Submission], Iterator[Remark]]
"""Says what is wrong; nothing means that all it looked at holds."""
