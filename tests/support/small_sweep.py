"""A sweep of a few runs whose records are made up."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records.run_folder import Start
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.sweep import plan
from layerbench.benchmarks.sweep.plan import PlannedRun, SweepPlan
from tests.support.record_example import evaluation, example


def make(
    root: Path, *, layers: Sequence[int | str] = (0,), seeds: Sequence[int] = (0,)
) -> SweepPlan:
    settings = resolve.load("keydoor", [f"run_root={root}"], preset="quick")
    return plan.make_plan(settings, layers=map(str, layers), seeds=seeds)


def record_of(run: PlannedRun) -> RunRecord:
    """Make a record of the run: 0.5 s for each evaluation, 1.25 s of training."""
    record = dataclasses.replace(
        example(), seed=run.config.seed, settings=serialize.as_dict(run.config)
    )
    selection = dataclasses.replace(record.selection, name=run.config.layers)
    if run.trains:
        return dataclasses.replace(record, selection=selection)
    return dataclasses.replace(
        record,
        selection=selection,
        evaluations=(evaluation("base", (0, 1, 0, 0)),),
        differences={},
        training=dataclasses.replace(record.training, iterations=0, seconds={}),
    )


def finish(run: PlannedRun) -> None:
    with run.folder.open(run.config, Start.CONTINUE):
        run.folder.finish(record_of(run))


def begin(run: PlannedRun, *, iterations: int = 0) -> None:
    """Leave the folder of a killed run, whose last line of metrics is cut off."""
    with run.folder.open(run.config, Start.CONTINUE):
        lines = [f'{{"iteration": {i}, "success": 0.5}}\n' for i in range(iterations)]
        run.folder.metrics.write_text("".join(lines) + '{"iteration": ')
