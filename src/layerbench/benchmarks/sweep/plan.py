"""The runs of a sweep, how far each is, and an estimate of the time left."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.models.present import PresentRun, present_run
from layerbench.benchmarks.records import metrics_log, run_record, sealed
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FULL_SELECTION,
    RunRecord,
)
from layerbench.benchmarks.records.run_state import RunState


class State(StrEnum):
    """Progress of a run.

    ``HELD``: a process is at work on it. ``UNFINISHED``: it was begun and is not running, or its
    record cannot be read.
    """

    COMPLETE = "complete"
    HELD = "running"
    UNFINISHED = "unfinished"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        config: The run's settings.
        folder: The run's folder, which need not exist yet.
        present: Its tasks and model as they are now, the same for all runs of a sweep; None looks
            at them each time.
    """

    config: RunConfig
    folder: RunFolder
    present: PresentRun | None = None

    @property
    def trains(self) -> bool:
        """Whether the run trains; the base model is only scored."""
        return self.config.layers != BASE_SELECTION

    @property
    def title(self) -> str:
        """Selection and seed, for messages."""
        names = {BASE_SELECTION: "base", FULL_SELECTION: "full"}
        selection = names.get(self.config.layers, f"layer {self.config.layers}")
        return f"{selection} seed {self.config.seed}"

    @property
    def iterations_done(self) -> int:
        """Number of training iterations in the metrics file."""
        return len(metrics_log.read_so_far(self.folder.metrics))

    def record(self) -> RunRecord | None:
        """Read the record; None if it is missing or cannot be read.

        Raises:
            SettingsError: The folder holds something else.
            SchemaError: The record is of another schema version.
        """
        present = self.present or present_run(self.config)
        return self.folder.check(self.config, Start.CONTINUE, present=present)

    def state(self) -> State:
        """Look how far the run is; fast while there is no record.

        Raises:
            UserError: There is a record, and ``record`` would raise.
        """
        # A record counts even while another process holds the folder: it is written last.
        if self.folder.record.exists() and self.record() is not None:
            return State.COMPLETE
        if self.folder.held:
            return State.HELD
        return State.UNFINISHED if self.folder.config.exists() else State.MISSING


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """All runs of a sweep, in the order of their execution.

    Attributes:
        base: Runs that score the base model, one a seed; they come first.
        trained: Runs that train, seed by seed: the full model, then layer by layer.
    """

    base: tuple[PlannedRun, ...]
    trained: tuple[PlannedRun, ...]

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All runs."""
        return self.base + self.trained


def make_plan(config: RunConfig, *, layers: Iterable[int], seeds: Sequence[int]) -> SweepPlan:
    """Plan the base model, full training and each layer by itself, for every seed.

    Args:
        config: The settings of all runs; selection and seed are replaced.
        layers: Decoder blocks, from 0; each is trained in a run of its own.
        seeds: Seeds of training.
    """
    selections = [FULL_SELECTION, *map(str, layers)]
    present = present_run(config)
    return SweepPlan(
        base=tuple(_planned(config, BASE_SELECTION, seed, present) for seed in seeds),
        trained=tuple(
            _planned(config, selection, seed, present) for seed in seeds for selection in selections
        ),
    )


def base_of(config: RunConfig) -> RunFolder:
    """Name the folder of the run that scores the base model of the same sweep and seed."""
    return _planned(config, BASE_SELECTION, config.seed, None).folder


def comparable_records(root: Path, config: RunConfig) -> Iterator[RunRecord]:
    """Read the records of runs with these settings, of any selection and seed."""
    return (record for _, record in _comparable(root, config))


def start_up_seconds(root: Path, config: RunConfig) -> float:
    """Say how long such a run takes to start; 0 where none is known.

    It is the shortest time of any, as a process may have done something else before.
    """
    states = (
        sealed.read_sound(RunState, RunFolder(path).state) for path, _ in _comparable(root, config)
    )
    known = [state.start_up_s for state in states if state and state.start_up_s is not None]
    return min(known, default=0.0)


def _comparable(root: Path, config: RunConfig) -> Iterator[tuple[Path, RunRecord]]:
    settings = _without_layers_and_seed(serialize.as_dict(config))
    for path in sorted(root.glob("*/record.json")):
        try:
            record = run_record.read(path)
        # The records only serve an estimate: broken ones are not this sweep's concern.
        except (OSError, ValueError):
            continue
        if _without_layers_and_seed(record.settings) == settings:
            yield path.parent, record


def seconds_left(
    runs: Iterable[PlannedRun],
    records: Sequence[RunRecord],
    *,
    jobs: int,
    start_up_s: float = 0.0,
) -> float | None:
    """Estimate how long runs take by the times of finished ones.

    Args:
        runs: The runs to do; finished iterations of an unfinished one are subtracted.
        records: Records of finished runs with the same settings.
        jobs: Runs at a time.
        start_up_s: Time that each takes to start.

    Returns:
        Seconds; None without a record of a trained run.
    """
    trained = _mean(records, _training_seconds, trains=True)
    # Every record has a base evaluation: a reused one keeps the seconds that it first took.
    base = _mean(records, _base_seconds, trains=False)
    if trained is None or base is None:
        return None
    played = [
        trained * (1 - run.iterations_done / run.config.train.iterations) if run.trains else base
        for run in runs
    ]
    left = [start_up_s + seconds for seconds in played]
    # A single run is not split over jobs, so that the longest one is a lower bound.
    return max(math.fsum(left) / jobs, max(left, default=0.0))


def _planned(config: RunConfig, layers: str, seed: int, present: PresentRun | None) -> PlannedRun:
    run_config = copy.deepcopy(config)
    run_config.layers, run_config.seed = layers, seed
    return PlannedRun(run_config, RunFolder(default_path(run_config)), present)


def _without_layers_and_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("layers", "seed")}


def _mean(
    records: Sequence[RunRecord], seconds: Callable[[RunRecord], float], *, trains: bool
) -> float | None:
    """Average over the records of trained runs, or over all."""
    values = [seconds(r) for r in records if not trains or r.training.iterations]
    return math.fsum(values) / len(values) if values else None


def _base_seconds(record: RunRecord) -> float:
    return math.fsum(e.seconds for e in record.evaluations if e.phase == BASE_PHASE)


def _training_seconds(record: RunRecord) -> float:
    # Without the base evaluation, which a sweep's trained runs take over from the base run.
    evaluated = math.fsum(e.seconds for e in record.evaluations if e.phase != BASE_PHASE)
    return evaluated + math.fsum(record.training.seconds.values())
