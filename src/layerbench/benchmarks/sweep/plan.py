"""What a sweep will run, and what of it is there already."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import FormatError, SchemaError
from layerbench.benchmarks.records import metrics_log, run_record
from layerbench.benchmarks.records.run_folder import RunFolder, Start, default_path
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FULL_SELECTION,
    RunRecord,
)


class State(StrEnum):
    """How far a run is.

    ``HELD`` is one that a process is at work on; ``UNFINISHED`` one that was begun, by whatever it
    ended, or whose record cannot be read.
    """

    COMPLETE = "complete"
    HELD = "running"
    UNFINISHED = "unfinished"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        config: Its settings.
        folder: Where it is or will be.
    """

    config: RunConfig
    folder: RunFolder

    @property
    def trains(self) -> bool:
        """Whether anything learns; the base model is only scored."""
        return self.config.layers != BASE_SELECTION

    @property
    def title(self) -> str:
        """Name it for people."""
        names = {BASE_SELECTION: "base", FULL_SELECTION: "full"}
        selection = names.get(self.config.layers, f"layer {self.config.layers}")
        return f"{selection} seed {self.config.seed}"

    @property
    def iterations_done(self) -> int:
        """Iterations of training that are written down."""
        return len(metrics_log.read_so_far(self.folder.metrics))

    def record(self) -> RunRecord | None:
        """Read the record; None if there is none, or none that can be read.

        Raises:
            SettingsError: The folder holds something else.
            SchemaError: The record is of another schema version.
        """
        try:
            return self.folder.check(self.config, Start.CONTINUE)
        except SchemaError:
            raise
        except FormatError:
            return None

    def state(self) -> State:
        """See how far it is; cheap where there is no record.

        Raises:
            UserError: There is a record, and ``record`` would raise.
        """
        if self.folder.record.exists() and self.record() is not None:
            return State.COMPLETE
        if self.folder.held:
            return State.HELD
        return State.UNFINISHED if self.folder.config.exists() else State.MISSING


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """All runs of a sweep, in the order they are to be run.

    Attributes:
        base: Score the base model, one for each seed; they come first.
        trained: Seed by seed, the full model and then layer by layer.
    """

    base: tuple[PlannedRun, ...]
    trained: tuple[PlannedRun, ...]

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All of them."""
        return self.base + self.trained


def make_plan(config: RunConfig, *, layers: Iterable[int], seeds: Sequence[int]) -> SweepPlan:
    """Plan the base model, full training and each layer by itself, for every seed.

    Args:
        config: The settings of all runs; selection and seed are replaced.
        layers: Trained one at a time.
        seeds: Of training.
    """
    selections = [FULL_SELECTION, *map(str, layers)]
    return SweepPlan(
        base=tuple(_planned(config, BASE_SELECTION, seed) for seed in seeds),
        trained=tuple(
            _planned(config, selection, seed) for seed in seeds for selection in selections
        ),
    )


def base_of(config: RunConfig) -> RunFolder:
    """Name the folder of the run that scores the base model of the same sweep and seed."""
    return _planned(config, BASE_SELECTION, config.seed).folder


def measured(root: Path, config: RunConfig) -> Iterator[RunRecord]:
    """Find finished runs with these settings, whatever they trained and with whatever seed."""
    wanted = _without_place(serialize.as_dict(config))
    for path in sorted(root.glob("*/record.json")):
        try:
            record = run_record.read(path)
        except (OSError, ValueError):
            continue
        if _without_place(record.settings) == wanted:
            yield record


def seconds_left(
    runs: Iterable[PlannedRun], known: Sequence[RunRecord], *, jobs: int
) -> float | None:
    """Estimate how long runs take from those that were measured.

    Args:
        runs: Those still to do; what an unfinished one has done already is taken off.
        known: Records of runs with the same settings.
        jobs: Runs at a time.

    Returns:
        Seconds of play and updates, without loading; None if there is no trained run to go by.
    """
    trained = _mean(known, _training_seconds, trains=True)
    base = _mean(known, _base_seconds, trains=False)
    if trained is None or base is None:
        return None
    left = [
        trained * (1 - run.iterations_done / run.config.train.iterations) if run.trains else base
        for run in runs
    ]
    # The longest run bounds it, however many may run beside it.
    return max(math.fsum(left) / jobs, max(left, default=0.0))


def _planned(config: RunConfig, layers: str, seed: int) -> PlannedRun:
    own = copy.deepcopy(config)
    own.layers, own.seed = layers, seed
    return PlannedRun(own, RunFolder(default_path(own)))


def _without_place(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("layers", "seed")}


def _mean(
    known: Sequence[RunRecord], seconds: Callable[[RunRecord], float], *, trains: bool
) -> float | None:
    """Average over the trained runs, or for the base model over all."""
    values = [seconds(r) for r in known if not trains or r.training.iterations]
    return math.fsum(values) / len(values) if values else None


def _base_seconds(record: RunRecord) -> float:
    return math.fsum(e.seconds for e in record.evaluations if e.phase == BASE_PHASE)


def _training_seconds(record: RunRecord) -> float:
    evaluated = math.fsum(e.seconds for e in record.evaluations if e.phase != BASE_PHASE)
    return evaluated + math.fsum(record.training.seconds.values())
