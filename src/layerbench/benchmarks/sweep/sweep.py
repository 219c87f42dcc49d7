"""A sweep from what was asked for to its results: plans the runs, and executes what is missing."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.config import unused, validate
from layerbench.benchmarks.errors import HeldError
from layerbench.benchmarks.leaderboard import build, tables
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.records import fitting
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import task_lists
from layerbench.benchmarks.sweep import plan, plan_table, power_lines, selection, tuned_rates
from layerbench.benchmarks.sweep.plan import State, SweepPlan
from layerbench.benchmarks.sweep.shared import Common, Shared, share, states_of


@dataclass(frozen=True, slots=True)
class Asked(Common):
    """A sweep as asked for, by the command or by a program.

    Attributes:
        seeds: Seeds of training, as ``selection.parse_seeds`` reads them.
        force: Delete the runs of this sweep, and run all anew.
        rates: File of tuned learning rates; None takes those of the settings.
    """

    seeds: str
    force: bool
    rates: Path | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A sweep, parsed and checked.

    Attributes:
        shared: Settings of every run, but for selection, seed and a layer's own rate.
        plan: The runs.
        tasks: Number of tasks that are scored, by split.
    """

    shared: Shared
    plan: SweepPlan
    tasks: Mapping[str, int]


def sweep(
    asked: Asked, *, dry_run: bool = False, progress: bool = True
) -> tuple[SweepPlan, Mapping[str, str]]:
    """Plan a sweep, and run what is missing.

    Args:
        asked: The sweep.
        dry_run: Print the plan to stdout, and run nothing.
        progress: Report plan and progress on stderr.

    Returns:
        The runs, and the reasons of those that failed, by title; none if the sweep is complete.

    Raises:
        UserError: An argument or setting is wrong, or the launcher cannot work here; nothing was
            run.
    """
    request = _request(asked)
    if not dry_run:
        RunFolder(request.shared.root).check_writable()
    if asked.force:
        # Damage to a run that is to be deleted must not hold it up.
        for run in request.plan.runs:
            run.folder.check(run.config, Start.FRESH)
    states = [] if asked.force and not dry_run else states_of(request.plan)
    launch = request.shared.make_launcher()
    # After the launcher is made: if it cannot be, no run is deleted.
    if asked.force and not dry_run:
        _delete_runs(request.plan)
        states = states_of(request.plan)
    # The plan of a sweep that runs goes to stderr: stdout is for the table of results alone.
    if dry_run or progress:
        _show_plan(request, states, stderr=not dry_run)
    if dry_run:
        return request.plan, {}
    return request.plan, request.shared.execute(request.plan, launch, progress=progress)


def show_results(sweep_plan: SweepPlan) -> None:
    """Print the leaderboard of the complete runs; nothing if there are none."""
    complete = [run.folder.record for run in sweep_plan.runs if run.record() is not None]
    if complete:
        width = fitting.terminal_width(sys.stdout)
        sys.stdout.write(tables.terminal(build.gather(complete), width=width))


def _request(asked: Asked) -> Request:
    chosen = {
        "layers": "layers of a sweep is chosen by --layers",
        "seed": "seed of a sweep is chosen by --seeds",
    }
    shared = share(asked, chosen=chosen)
    config = shared.config
    seeds = selection.parse_seeds(asked.seeds)
    layers = selection.parse_layers(asked.layers, loading.num_layers(config.model))
    rates = None if asked.rates is None else tuned_rates.read(asked.rates)
    if rates is not None:
        rates.apply(config, shared.typed)
    lr_scales = {} if rates is None else rates.multipliers(config, layers)
    planned = plan.make_plan(config, layers=layers, seeds=seeds, lr_scales=lr_scales)
    unused.check(shared.typed, [run.config for run in planned.runs])
    for run in planned.runs:
        validate.check(run.config)
    # All runs play the same tasks: if they cannot be listed, no run needs to be started.
    tasks = task_lists.list_tasks(config)
    if rates is not None:
        rates.check(config, seeds, tasks)
    return Request(
        shared=shared,
        plan=planned,
        tasks={split: len(listed) for split, listed in tasks.scored.items()},
    )


def _delete_runs(sweep_plan: SweepPlan) -> None:
    """Delete the runs, unless a process is at work on one of them."""
    for run in sweep_plan.runs:
        if run.folder.held:
            raise HeldError(f"another process is at work in {run.folder.path}: nothing was deleted")
    for run in sweep_plan.runs:
        if run.folder.holds_run:
            # Deletes under the folder's lock, so that no other process starts the run meanwhile.
            with run.folder.open(run.config, Start.FRESH):
                pass


def _show_plan(request: Request, states: Sequence[State], *, stderr: bool) -> None:
    root, config, jobs = request.shared.root, request.shared.config, request.shared.jobs
    records = list(plan.comparable_records(root, config))
    todo = [
        run
        for run, state in zip(request.plan.runs, states, strict=True)
        if state is not State.COMPLETE
    ]
    seconds = plan.seconds_left(
        todo,
        records,
        jobs=jobs or 1,
        start_up_s=plan.start_up_seconds(root, config),
    )
    file = sys.stderr if stderr else sys.stdout
    fitting.show(
        *plan_table.plan_lines(request.plan, states, folder=str(root)),
        plan_table.time_line(seconds, measured=len(records), jobs=jobs),
        # Once a sweep runs, what it can see is decided.
        *([] if stderr else _power(request, records)),
        *plan_table.state_table(request.plan, states, width=fitting.terminal_width(file)),
        file=file,
        indent=12,
    )


def _power(request: Request, records: Sequence[RunRecord]) -> list[str]:
    # One split: the others' numbers would be nearly the same.
    split, tasks = next(iter(request.tasks.items()))
    return power_lines.power_lines(
        records,
        split=split,
        seeds=len(request.plan.base),
        tasks=tasks,
        episodes=request.shared.config.eval.episodes_per_task,
    )
