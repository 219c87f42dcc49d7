"""A sweep from what was asked for to its results: plans the runs, and executes what is missing."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from layerbench.benchmarks.config import unused
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import HeldError, SettingsError
from layerbench.benchmarks.leaderboard import build, tables
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.records import fitting, provenance
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.runs import prepare, resolve
from layerbench.benchmarks.sweep import launchers, plan, plan_table, selection
from layerbench.benchmarks.sweep.plan import State, SweepPlan
from layerbench.benchmarks.sweep.progress import SweepProgress
from layerbench.benchmarks.sweep.runner import Sweep

_LAUNCHER_SETTING = "hydra.launcher."


@dataclass(frozen=True, slots=True)
class Asked:
    """A sweep as asked for, by the command or by a program.

    Attributes:
        env: Name of the environment.
        settings: ``name=value`` each, for the runs, or ``hydra.launcher.NAME=value`` for the
            launcher.
        layers: Layers to train one at a time, as ``selection.parse_layers`` reads them.
        seeds: Seeds of training, as ``selection.parse_seeds`` reads them.
        preset: Name of the preset; None for that of the model.
        file: File of settings; None for none.
        jobs: Runs at a time; None for one a core, or what the launcher takes.
        launcher: Name of the launcher.
        force: Delete the runs of this sweep, and run all anew.
    """

    env: str
    settings: Sequence[str]
    layers: str
    seeds: str
    preset: str | None
    file: Path | None
    jobs: int | None
    launcher: str
    force: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A sweep, parsed and checked.

    Attributes:
        config: Settings of every run, but for selection and seed.
        plan: The runs.
        launcher: Name of the launcher.
        launcher_settings: Settings of the launcher, ``hydra.launcher.NAME=value`` each.
        jobs: Runs at a time; None leaves it to the launcher.
    """

    config: RunConfig
    plan: SweepPlan
    launcher: str
    launcher_settings: tuple[str, ...]
    jobs: int | None

    @property
    def root(self) -> Path:
        """Folder of the run folders."""
        return Path(self.config.run_root)


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
        RunFolder(request.root).check_writable()
    if asked.force:
        # Damage to a run that is to be deleted must not hold it up.
        for run in request.plan.runs:
            run.folder.check(run.config, Start.FRESH)
    states = [] if asked.force and not dry_run else _states(request.plan)
    launch = launchers.make_launcher(
        request.launcher,
        jobs=request.jobs,
        settings=request.launcher_settings,
        root=request.root,
    )
    # After the launcher is made: if it cannot be, no run is deleted.
    if asked.force and not dry_run:
        _delete_runs(request.plan)
        states = _states(request.plan)
    # The plan of a sweep that runs goes to stderr: stdout is for the table of results alone.
    if dry_run or progress:
        _show_plan(request, states, stderr=not dry_run)
    return request.plan, {} if dry_run else _run(request, launch, progress=progress)


def show_results(sweep_plan: SweepPlan) -> None:
    """Print the leaderboard of the complete runs; nothing if there are none."""
    complete = [run.folder.record for run in sweep_plan.runs if run.record() is not None]
    if complete:
        width = fitting.terminal_width(sys.stdout)
        sys.stdout.write(tables.terminal(build.gather(complete), width=width))


def _request(asked: Asked) -> Request:
    run_settings = [item for item in asked.settings if not item.startswith(_LAUNCHER_SETTING)]
    for name, option in (("layers", "--layers"), ("seed", "--seeds")):
        if any(item.startswith(f"{name}=") for item in run_settings):
            raise SettingsError(f"{name} of a sweep is chosen by {option}")
    jobs = _jobs(asked)
    if jobs != 1 and not any(item.startswith("model.threads=") for item in run_settings):
        # torch takes all cores by default, and runs beside each other would contend for them.
        run_settings.append("model.threads=1")
    config = resolve.load_shared(
        asked.env,
        run_settings,
        preset=asked.preset,
        file=asked.file,
        # Of the one run that the file is of; a sweep's are chosen by --layers and --seeds.
        ignored=("layers", "seed"),
    )
    if config.train.lr_scale:
        raise SettingsError("train.lr_scale is for layerbench run: layers of a sweep learn alike")
    # Workers may have another working directory.
    config.run_root = str(Path(config.run_root).resolve())
    seeds = selection.parse_seeds(asked.seeds)
    layers = selection.parse_layers(asked.layers, loading.num_layers(config.model))
    planned = plan.make_plan(config, layers=layers, seeds=seeds)
    unused.check(run_settings, [run.config for run in planned.runs])
    # All runs play the same tasks: if they cannot be listed, no run needs to be started.
    prepare.list_tasks(config)
    return Request(
        config=config,
        plan=planned,
        launcher=asked.launcher,
        launcher_settings=tuple(i for i in asked.settings if i.startswith(_LAUNCHER_SETTING)),
        jobs=jobs,
    )


def _jobs(asked: Asked) -> int | None:
    """Choose the number of runs at a time; None leaves it to the launcher."""
    if asked.jobs is not None:
        if asked.jobs < 1:
            raise SettingsError(f"--jobs must be at least 1, got {asked.jobs}")
        return asked.jobs
    if asked.launcher in ("joblib", "submitit_local"):
        # Several runs on one GPU would contend for its memory.
        return 1 if torch.cuda.is_available() else provenance.cpus()
    return None


def _states(sweep_plan: SweepPlan) -> list[State]:
    """Look how far the runs are.

    Raises:
        UserError: A folder holds something else.
    """
    # ``state`` alone checks a folder only if it has a record.
    for run in sweep_plan.runs:
        run.record()
    return [run.state() for run in sweep_plan.runs]


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
    records = list(plan.comparable_records(request.root, request.config))
    todo = [
        run
        for run, state in zip(request.plan.runs, states, strict=True)
        if state is not State.COMPLETE
    ]
    seconds = plan.seconds_left(
        todo,
        records,
        jobs=request.jobs or 1,
        start_up_s=plan.start_up_seconds(request.root, request.config),
    )
    file = sys.stderr if stderr else sys.stdout
    fitting.show(
        *plan_table.plan_lines(request.plan, states, folder=str(request.root)),
        plan_table.time_line(seconds, measured=len(records), jobs=request.jobs),
        *plan_table.state_table(request.plan, states, width=fitting.terminal_width(file)),
        file=file,
        indent=12,
    )


def _run(request: Request, launch: launchers.Launch, *, progress: bool) -> Mapping[str, str]:
    with SweepProgress(request.plan) if progress else nullcontext() as shown:
        running = Sweep(
            plan=request.plan,
            launch=launch,
            # submitit's local executor has no limit: it starts all of its jobs at once.
            batch=request.jobs if request.launcher == "submitit_local" else None,
            say=shown.say if shown else _keep_silent,
            error_log=request.root / "launcher-error.log",
        )
        running.run()
    return running.failed


def _keep_silent(_line: str) -> None:
    return None
