"""What a sweep and tuning have in common: settings of all runs, the launcher, the execution."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import provenance
from layerbench.benchmarks.runs import ranks, resolve
from layerbench.benchmarks.sweep import launchers
from layerbench.benchmarks.sweep.plan import State, SweepPlan
from layerbench.benchmarks.sweep.progress import SweepProgress
from layerbench.benchmarks.sweep.runner import Sweep

_LAUNCHER_SETTING = "hydra.launcher."


_CORES = {"ray": "num_cpus", "submitit": "cpus_per_task"}
"""Settings of launchers that say how many cores a run takes."""


@dataclass(frozen=True, slots=True)
class Common:
    """What is asked for of a sweep as of tuning, by the command or by a program.

    Attributes:
        env: Name of the environment.
        settings: ``name=value`` each, for the runs, or ``hydra.launcher.NAME=value`` for the
            launcher.
        layers: Layers to train one at a time, as ``selection.parse_layers`` reads them.
        preset: Name of the preset; None for that of the model.
        file: File of settings; None for none.
        jobs: Runs at a time; None for one a core, or what the launcher takes.
        launcher: Name of the launcher.
    """

    env: str
    settings: Sequence[str]
    layers: str
    preset: str | None
    file: Path | None
    jobs: int | None
    launcher: str


@dataclass(frozen=True, slots=True)
class Shared:
    """Settings that all runs share, and how runs are executed.

    Attributes:
        config: Settings of every run, but for what tells the runs apart.
        typed: Settings of the runs that were typed.
        launcher: Name of the launcher.
        launcher_settings: Settings of the launcher, ``hydra.launcher.NAME=value`` each.
        jobs: Runs at a time; None leaves it to the launcher.
    """

    config: RunConfig
    typed: tuple[str, ...]
    launcher: str
    launcher_settings: tuple[str, ...]
    jobs: int | None

    @property
    def root(self) -> Path:
        """Folder of the run folders."""
        return Path(self.config.run_root)

    def make_launcher(self) -> launchers.Launch:
        """Set up the launcher.

        Raises:
            SettingsError: It cannot work here.
        """
        return launchers.make_launcher(
            self.launcher, jobs=self.jobs, settings=self.launcher_settings, root=self.root
        )

    def execute(
        self, plan: SweepPlan, launch: launchers.Launch, *, progress: bool
    ) -> Mapping[str, str]:
        """Run what is missing of a plan.

        Args:
            plan: The runs.
            launch: What ``make_launcher`` made.
            progress: Report progress on stderr.

        Returns:
            The reasons of the runs that failed, by title; none if all are complete.
        """
        with SweepProgress(plan) if progress else nullcontext() as shown:
            running = Sweep(
                plan=plan,
                launch=launch,
                # submitit's local executor has no limit: it starts all of its jobs at once.
                batch=self.jobs if self.launcher == "submitit_local" else None,
                say=shown.say if shown else _keep_silent,
                error_log=self.root / "launcher-error.log",
            )
            running.run()
        return running.failed


def share(asked: Common, *, chosen: Mapping[str, str]) -> Shared:
    """Compose the settings that all runs share.

    Args:
        asked: What was asked for.
        chosen: By settings that are not typed, what chooses them instead.

    Raises:
        UserError: An argument or setting is wrong.
    """
    run_settings = [item for item in asked.settings if not item.startswith(_LAUNCHER_SETTING)]
    for name, by in chosen.items():
        if any(item.startswith(f"{name}=") for item in run_settings):
            raise SettingsError(by)
    jobs = _jobs(asked)
    if jobs != 1 and not any(item.startswith("model.threads=") for item in run_settings):
        # torch takes all cores by default, and runs beside each other would contend for them.
        run_settings.append("model.threads=1")
    config = resolve.load_shared(
        asked.env,
        run_settings,
        preset=asked.preset,
        file=asked.file,
        # Of the one run that the file is of; those of a sweep have others.
        ignored=("layers", "seed"),
    )
    if config.train.lr_scale:
        raise SettingsError("train.lr_scale is for layerbench run: layers of a sweep learn alike")
    # Workers may have another working directory.
    config.run_root = str(Path(config.run_root).resolve())
    if jobs is not None and asked.jobs is None:
        jobs = max(1, jobs // ranks.size(config))
    launcher_settings = [i for i in asked.settings if i.startswith(_LAUNCHER_SETTING)]
    if (cores := ranks.size(config)) > 1 and asked.launcher in _CORES:
        setting = f"{_LAUNCHER_SETTING}{_CORES[asked.launcher]}="
        if not any(item.startswith(setting) for item in launcher_settings):
            launcher_settings.append(f"{setting}{cores}")
    return Shared(
        config=config,
        typed=tuple(run_settings),
        launcher=asked.launcher,
        launcher_settings=tuple(launcher_settings),
        jobs=jobs,
    )


def states_of(plan: SweepPlan) -> list[State]:
    """Look how far the runs are.

    Raises:
        UserError: A folder holds something else.
    """
    # ``state`` alone checks a folder only if it has a record.
    for run in plan.runs:
        run.record()
    return [run.state() for run in plan.runs]


def _jobs(asked: Common) -> int | None:
    """Choose the number of runs at a time; None leaves it to the launcher."""
    if asked.jobs is not None:
        if asked.jobs < 1:
            raise SettingsError(f"--jobs must be at least 1, got {asked.jobs}")
        return asked.jobs
    if asked.launcher in ("joblib", "submitit_local"):
        # Several runs on one GPU would contend for its memory.
        return 1 if torch.cuda.is_available() else provenance.cpus()
    return None


def _keep_silent(_line: str) -> None:
    return None
