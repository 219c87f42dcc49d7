"""The types of a comparison of two policies."""

from collections.abc import Mapping
from dataclasses import dataclass

from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.stats.contribution import LEVEL
from layerbench.benchmarks.stats.paired import PairedDifference
from layerbench.benchmarks.stats.success import Count


@dataclass(frozen=True, slots=True)
class Run:
    """One run's part in a side.

    Attributes:
        found: The run's record.
        evaluations: Its evaluations of the side's phase, by split.
    """

    found: FoundRecord
    evaluations: Mapping[str, Evaluation]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two policies.

    Attributes:
        typed: How it was named: ``PATH`` or ``SELECTION@PATH``.
        selection: The layers that learned; ``none`` for a model as it is.
        phase: Phase of the evaluations.
        runs: Its runs by seed.
        notes: What was left out of it, one line each.
    """

    typed: str
    selection: str
    phase: str
    runs: Mapping[int, Run]
    notes: tuple[str, ...]

    @property
    def trained(self) -> bool:
        """Whether the seeds are trainings of their own."""
        return self.selection != "none"

    @property
    def example(self) -> FoundRecord:
        """The first of its runs; the others have the same settings."""
        return next(iter(self.runs.values())).found

    def evaluation(self, split: str) -> Evaluation:
        """The evaluation on a split of the first of its runs; the others have the same tasks."""
        return next(iter(self.runs.values())).evaluations[split]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.example.record.model.name


@dataclass(frozen=True, slots=True)
class TaskPair:
    """One task, and how many of its episodes each side won."""

    task_id: str
    task_type: str
    a: Count
    b: Count


@dataclass(frozen=True, slots=True)
class TypeComparison:
    """B against A on the tasks of one type.

    Attributes:
        task_type: The type.
        a: Episodes of A.
        b: Episodes of B.
        result: Difference, interval and test of this type alone.
        adjusted_p: The p-value, corrected for the number of types by Holm's method.
    """

    task_type: str
    a: Count
    b: Count
    result: PairedDifference
    adjusted_p: float

    @property
    def is_clear(self) -> bool:
        """Whether the difference is clear of 0 beside those of the other types, at 5 %."""
        return self.adjusted_p <= LEVEL


@dataclass(frozen=True, slots=True)
class SplitComparison:
    """B against A on one split.

    Attributes:
        split: The split.
        a: Episodes of A, of all its seeds.
        b: Episodes of B.
        result: Difference, interval and test.
        by_type: The same by type of task; empty where there is one type.
        tasks: Every task.
    """

    split: str
    a: Count
    b: Count
    result: PairedDifference
    by_type: tuple[TypeComparison, ...]
    tasks: tuple[TaskPair, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """B, the candidate, against A on the same tasks.

    Attributes:
        a: The policy that B is compared with.
        b: The candidate.
        splits: The comparison by split.
        differs: Settings and parts in which the two differ, as ``name=A/B``.
        notes: Limits of the comparison, one line each.
    """

    a: Side
    b: Side
    splits: tuple[SplitComparison, ...]
    differs: tuple[str, ...]
    notes: tuple[str, ...]

    def may_be_worse_than(self, margin: float) -> bool:
        """Tell whether on any split the 95 % interval of B - A reaches below -``margin``."""
        return any(split.result.may_be_worse_than(margin) for split in self.splits)

    def is_within(self, margin: float) -> bool:
        """Tell whether B is shown to be within ``margin`` of A on every split.

        By the 90 % interval, which amounts to two one-sided tests at 5 %.
        """
        return all(split.result.is_within(margin) for split in self.splits)
