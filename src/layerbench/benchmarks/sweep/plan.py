"""The runs of a sweep, how far each is, and an estimate of the time left."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from layerbench.rl.types import CONTROLS

# In the place of the rates of a base run, whose settings must have some.
_NO_RATE = 1e-6


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
        rate: Learning rate that the run is a trial of; None for any other run.
    """

    config: RunConfig
    folder: RunFolder
    present: PresentRun | None = None
    rate: float | None = None

    @property
    def trains(self) -> bool:
        """Whether the run trains; the base model is only scored."""
        return self.config.layers != BASE_SELECTION

    @property
    def title(self) -> str:
        """Selection, rate of a trial, and seed, for messages."""
        layers = self.config.layers
        names = {BASE_SELECTION: "base", FULL_SELECTION: "full", **{c: c for c in CONTROLS}}
        selection = names.get(layers, f"layer {layers}")
        rate = "" if self.rate is None else f" at {self.rate:g}"
        return f"{selection}{rate} seed {self.config.seed}"

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
        trained: Runs that train, seed by seed: the full model, the controls, then layer by layer.
    """

    base: tuple[PlannedRun, ...]
    trained: tuple[PlannedRun, ...]

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All runs."""
        return self.base + self.trained


def make_plan(
    config: RunConfig,
    *,
    layers: Iterable[str],
    seeds: Sequence[int],
    lr_scales: Mapping[str, str] | None = None,
) -> SweepPlan:
    """Plan the base model, full training and each layer or control by itself, for every seed.

    Args:
        config: The settings of all runs; selection and seed are replaced.
        layers: Decoder blocks, from 0, and floor controls; each is trained in a run of its own.
        seeds: Seeds of training.
        lr_scales: ``train.lr_scale`` of the layers that have a rate of their own.
    """
    scales = lr_scales or {}
    selections = [FULL_SELECTION, *layers]
    present = present_run(config)
    return SweepPlan(
        base=tuple(plan_base(config, seed, present) for seed in seeds),
        trained=tuple(
            planned_run(config, selection, seed, present, scales.get(selection, ""))
            for seed in seeds
            for selection in selections
        ),
    )


def base_of(config: RunConfig) -> RunFolder:
    """Name the folder of the run that scores the base model of the same sweep and seed."""
    return plan_base(config, config.seed, None).folder


def plan_base(config: RunConfig, seed: int, present: PresentRun | None) -> PlannedRun:
    """Plan the run that scores the base model, which the rates of the others do not matter to."""
    base = copy.deepcopy(config)
    # Trials of rates differ in these as well, and share a base.
    if not config.env.eval_splits:
        base.train = replace(
            config.train, iterations=1, learning_rate=_NO_RATE, layer_learning_rate=_NO_RATE
        )
    return planned_run(base, BASE_SELECTION, seed, present)


def comparable_records(
    root: Path, config: RunConfig, *, but: Sequence[str] = ()
) -> Iterator[RunRecord]:
    """Read the records of runs with these settings, of any selection and seed.

    Args:
        root: Folder of the run folders.
        config: The settings.
        but: Settings, or sections that end in a dot, that may be others.
    """
    return (record for _, record in _comparable(root, config, but))


def start_up_seconds(root: Path, config: RunConfig, *, but: Sequence[str] = ()) -> float:
    """Say how long such a run takes to start; 0 where none is known.

    It is the shortest time of any, as a process may have done something else before.
    """
    states = (
        sealed.read_sound(RunState, RunFolder(path).state)
        for path, _ in _comparable(root, config, but)
    )
    known = [state.start_up_s for state in states if state and state.start_up_s is not None]
    return min(known, default=0.0)


def _comparable(
    root: Path, config: RunConfig, but: Sequence[str]
) -> Iterator[tuple[Path, RunRecord]]:
    but = (*but, "layers", "seed", "read_from.", "train.lr_scale")
    settings = _without(serialize.as_dict(config), but)
    for path in sorted(root.glob("*/record.json")):
        try:
            record = run_record.read(path)
        # The records only serve an estimate: broken ones are not this sweep's concern.
        except (OSError, ValueError):
            continue
        if _without(record.settings, but) == settings:
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


def planned_run(
    config: RunConfig, layers: str, seed: int, present: PresentRun | None, lr_scale: str = ""
) -> PlannedRun:
    """Plan one run in its own folder.

    Args:
        config: The settings; selection and seed are replaced.
        layers: The selection.
        seed: Seed of training.
        present: As of ``PlannedRun``.
        lr_scale: ``train.lr_scale`` of the run.
    """
    run_config = copy.deepcopy(config)
    run_config.layers, run_config.seed = layers, seed
    run_config.train = replace(config.train, lr_scale=lr_scale)
    return PlannedRun(run_config, RunFolder(default_path(run_config)), present)


def _without(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    sections = tuple(name for name in names if name.endswith("."))
    flat = serialize.flattened(settings)
    return {n: v for n, v in flat.items() if n not in names and not n.startswith(sections)}


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
