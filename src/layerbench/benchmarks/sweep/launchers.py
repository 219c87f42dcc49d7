"""Hydra's launchers, which distribute the jobs of a sweep."""

import importlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from layerbench.benchmarks.config import compose, overrides
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.sweep import job, ray_launcher
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.optional_packages import is_installed

LAUNCHERS = ("joblib", "ray", "submitit", "submitit_local")

Launch = Callable[[Sequence[RunConfig]], list[Outcome]]
"""Executes runs, and returns when all of them have ended."""

# Names in hydra's group hydra/launcher, where they differ.
_GROUPS = {"ray": ray_launcher.NAME, "submitit": "submitit_slurm"}
# The module that must be installed, and the extra that installs it.
_REQUIRED_EXTRAS = {
    "ray": ("ray", "ray"),
    "submitit": ("hydra_plugins.hydra_submitit_launcher", "submitit"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "submitit"),
}


def make_launcher(name: str, *, jobs: int | None, settings: Sequence[str], root: Path) -> Launch:
    """Set up one of hydra's launchers for runs below a folder.

    Args:
        name: One of ``LAUNCHERS``.
        jobs: Runs at a time; None leaves it to the launcher.
        settings: Settings of the launcher, ``hydra.launcher.NAME=VALUE`` each.
        root: Folder of the run folders, which all workers must see.

    Raises:
        SettingsError: The launcher is not installed, has no such setting, or cannot work here.
    """
    _check_installed(name)
    compose.register()
    ray_launcher.register()
    with compose.hydra_initialised():
        launcher = _launcher(
            [
                f"hydra/launcher={_GROUPS.get(name, name)}",
                f"hydra.sweep.dir={_quoted(str(root))}",
                # Runs have folders, settings and logs of their own: hydra is to add none.
                "hydra.sweep.subdir=.",
                "hydra.output_subdir=null",
                "hydra.mode=MULTIRUN",
                "hydra/hydra_logging=none",
                "hydra/job_logging=none",
                *_limit(name, jobs),
                *settings,
            ]
        )
    return lambda configs: _launch(launcher, configs)


def _check_installed(name: str) -> None:
    overrides.check_choice("launcher", name, LAUNCHERS)
    if name in _REQUIRED_EXTRAS:
        module, extra = _REQUIRED_EXTRAS[name]
        if not is_installed(module):
            raise SettingsError(
                f"the launcher {name} is not installed: pip install 'layerbench[{extra}]'"
            )
    if name == "submitit" and shutil.which("srun") is None:
        raise SettingsError(
            "the launcher submitit needs SLURM, and there is no srun here: start the sweep on a "
            "login node, or try it with --launcher submitit_local"
        )


def _limit(name: str, jobs: int | None) -> list[str]:
    """Make the settings of a launcher that limit how many runs it executes at a time."""
    if name == "joblib":
        # Without these, joblib batches several short jobs for one worker.
        return [
            f"hydra.launcher.n_jobs={jobs or 1}",
            "hydra.launcher.batch_size=1",
            "hydra.launcher.pre_dispatch=n_jobs",
        ]
    # submitit_local has no such setting: the sweep launches its runs in batches instead.
    setting = {"ray": "jobs", "submitit": "array_parallelism"}.get(name)
    return [f"hydra.launcher.{setting}={jobs}"] if jobs and setting else []


def _launcher(settings: Sequence[str]) -> Launcher:
    try:
        config = hydra.compose(compose.JOB, overrides=list(settings), return_hydra_config=True)
        # Resolved here, where a value that refers to nothing is still the user's to mend.
        OmegaConf.to_container(config.hydra.launcher, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra's own error is generic; its cause has the reason.
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise SettingsError(f"the launcher cannot be set up: {reason}") from error
    # Hydra has no public way to make a launcher outside of its own command line.
    callbacks: Any = importlib.import_module("hydra._internal.callbacks")
    context = HydraContext(
        config_loader=GlobalHydra.instance().config_loader(), callbacks=callbacks.Callbacks(config)
    )
    launcher: Launcher = instantiate(config.hydra.launcher)
    launcher.setup(hydra_context=context, task_function=job.execute, config=config)
    return launcher


def _quoted(text: str) -> str:
    """Quote text for hydra's grammar, such that nothing in it has a meaning."""
    # In front of a quote and of ${, backslashes are escapes and are doubled; elsewhere they are
    # text. The first for hydra's grammar, whose quotes end the text, the second for omegaconf.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), text)
    return f"'{text}'"


def _launch(launcher: Launcher, configs: Sequence[RunConfig]) -> list[Outcome]:
    jobs = [compose.to_hydra(config) for config in configs]
    # joblib executes one job at a time in this process, whose main program may be one of hydra.
    before = HydraConfig.instance().cfg
    try:
        returns = launcher.launch(jobs, initial_job_idx=0)
    finally:
        HydraConfig.instance().cfg = before
    return [_outcome(job_return) for job_return in returns]


def _outcome(job_return: JobReturn) -> Outcome:
    # The public property raises the error of a failed job.
    result: Any = job_return._return_value  # pyright: ignore[reportPrivateUsage]
    if job_return.status is JobStatus.COMPLETED:
        return result
    return Outcome(Status.FAILED, f"{type(result).__name__}: {result}".partition("\n")[0])
