"""The plan of a sweep as text."""

from collections.abc import Sequence

from layerbench.benchmarks.records import fitting
from layerbench.benchmarks.records.fitting import Column
from layerbench.benchmarks.records.run_record import BASE_SELECTION, FULL_SELECTION
from layerbench.benchmarks.records.text import duration
from layerbench.benchmarks.sweep.plan import PlannedRun, State, SweepPlan
from layerbench.rl.types import CONTROLS


def plan_lines(plan: SweepPlan, states: Sequence[State], *, folder: str) -> list[str]:
    """Describe the runs of a sweep, and count their states.

    Args:
        plan: The sweep.
        states: States of its runs, in their order.
        folder: Folder of the run folders.
    """
    config = plan.runs[0].config
    trained = dict.fromkeys(run.config.layers for run in plan.trained)
    layers = [layers for layers in trained if layers not in (FULL_SELECTION, *CONTROLS)]
    besides = ["base", "full", *(control for control in CONTROLS if control in trained)]
    counts = ", ".join(f"{states.count(state)} {state}" for state in State if state in states)
    return [
        f"sweep of {config.env.name}  model {config.model.name}  {config.algorithm.name}  "
        f"preset {config.preset}",
        f"each alone  layers {', '.join(layers) or 'none'}, besides "
        f"{', '.join(besides[:-1])} and {besides[-1]}",
        f"seeds       {', '.join(str(run.config.seed) for run in plan.base)}",
        f"runs        {len(plan.runs)} in {folder}: {counts}",
    ]


def time_line(seconds: float | None, *, measured: int, jobs: int | None) -> str:
    """Describe the estimate of the time left.

    Args:
        seconds: The estimate; None if there is none.
        measured: Number of records that it is based on.
        jobs: Runs at a time; None if the launcher decides.
    """
    if seconds is None:
        return "time        not known: no trained run with these settings is measured here yet"
    at_once = f"{jobs} at a time" if jobs else "one after the other"
    return f"time        about {duration(seconds)}, {at_once}, by {measured} measured runs"


def state_table(plan: SweepPlan, states: Sequence[State], *, width: int | None = None) -> list[str]:
    """Write the table of states: a row for each selection, a column for each seed."""
    cells = {
        (run.config.layers, run.config.seed): _cell(run, state)
        for run, state in zip(plan.runs, states, strict=True)
    }
    selections = list(dict.fromkeys(run.config.layers for run in plan.runs))
    names = [{BASE_SELECTION: "base"}.get(layers, layers) for layers in selections]
    seeds = [
        Column(f"seed {seed}", [cells[layers, seed] for layers in selections])
        for seed in (run.config.seed for run in plan.base)
    ]
    return fitting.blocks(Column("selection", names), seeds, width)


def _cell(run: PlannedRun, state: State) -> str:
    # A start deletes the error log, so that one that exists is of the last start.
    if state is State.UNFINISHED and run.folder.error_log.exists():
        return "failed"
    if run.trains and state in (State.UNFINISHED, State.HELD):
        return f"{state} {run.iterations_done}/{run.config.train.iterations}"
    return str(state)
