"""Runs by the splits that they scored, each a place in a table."""

from collections.abc import Iterator
from dataclasses import dataclass

from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import BASE_PHASE, BASE_SELECTION, FINAL_PHASE


@dataclass(frozen=True, slots=True)
class SplitRun:
    """One run's evaluations on one split.

    Attributes:
        run: The run's record.
        base: Evaluation of the base model.
        final: Evaluation of the trained model; that of the base model if nothing was trained.
    """

    run: FoundRecord
    base: Evaluation
    final: Evaluation

    @property
    def selection(self) -> str:
        """Name of the selection of layers that learned."""
        return self.run.record.selection.name

    @property
    def seed(self) -> int:
        """Seed of training."""
        return self.run.record.seed


def by_split(run: FoundRecord) -> Iterator[SplitRun]:
    """Divide a run by split; a split without a base evaluation has no place in a table."""
    evaluations = {(e.phase, e.split): e for e in run.record.scored}
    for (phase, split), base in evaluations.items():
        if phase != BASE_PHASE:
            continue
        if run.record.selection.name == BASE_SELECTION:
            yield SplitRun(run, base, base)
        elif final := evaluations.get((FINAL_PHASE, split)):
            yield SplitRun(run, base, final)
