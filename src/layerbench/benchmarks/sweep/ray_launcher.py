"""A launcher of hydra that executes jobs as Ray tasks.

It replaces hydra-ray-launcher, whose 1.2.2 requires cloudpickle<3, which joblib 1.6 refuses, and
always sets ``object_store_memory``, with which Ray refuses to join a running cluster.
"""

import importlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import open_dict

from layerbench.benchmarks.errors import SettingsError

NAME = "layerbench_ray"
"""Name of the launcher in hydra's group ``hydra/launcher``."""


@dataclass
class RayLauncherConfig:
    """Settings of the launcher.

    Attributes:
        address: Address of a running cluster, as for ``ray.init``; ``auto`` finds one on this
            machine. None joins the one in ``RAY_ADDRESS``, or starts one on this machine.
        jobs: Runs at a time on a cluster that is started here; None for one a core.
        num_cpus: Cores for each run.
        num_gpus: GPUs for each run, fractions allowed; the run sees no others.
    """

    _target_: str = f"{__name__}.RayLauncher"
    address: str | None = None
    jobs: int | None = None
    num_cpus: float = 1
    num_gpus: float = 0


def register() -> None:
    """Put the launcher into hydra's group."""
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name=NAME, node=RayLauncherConfig)


class RayLauncher(Launcher):
    """Executes jobs as Ray tasks; see ``RayLauncherConfig``."""

    def __init__(
        self, *, address: str | None, jobs: int | None, num_cpus: float, num_gpus: float
    ) -> None:
        self._cluster = address or os.environ.get("RAY_ADDRESS")
        self._jobs = jobs
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def setup(
        self, *, hydra_context: HydraContext, task_function: Callable[[Any], Any], config: object
    ) -> None:
        if self._jobs and self._cluster:
            raise SettingsError(
                f"--jobs {self._jobs} is for a cluster that the sweep starts: the one at "
                f"{self._cluster} runs what it has the cores for, hydra.launcher.num_cpus each"
            )
        self._context = hydra_context
        self._task = task_function
        self._config = cast(Any, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        ray = importlib.import_module("ray")
        self._join(ray)
        setup_globals()
        task = ray.remote(**self._resources)(_run_job)
        state = Singleton.get_state()
        running = [
            task.remote(self._context, self._job_config(job, number), self._task, state)
            for number, job in enumerate(job_overrides, start=initial_job_idx)
        ]
        return [_collect(ray, job) for job in running]

    def _join(self, ray: ModuleType) -> None:
        if ray.is_initialized():
            return
        # Ray reports usage statistics over the network by default.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray refuses these for a cluster that runs already.
        cores = self._jobs and math.ceil(self._jobs * self._resources["num_cpus"])
        new_cluster = {} if self._cluster else {"num_cpus": cores, "include_dashboard": False}
        ray.init(address=self._cluster, log_to_driver=False, logging_level="ERROR", **new_cluster)

    def _job_config(self, job: Sequence[str], number: int) -> object:
        config: Any = self._context.config_loader.load_sweep_config(self._config, list(job))
        with open_dict(config):
            # Numbered as by hydra-joblib-launcher (hydra_joblib_launcher/_core.py).
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        return config


def _run_job(
    context: HydraContext, config: object, task: Callable[[Any], Any], state: dict[Any, Any]
) -> JobReturn:
    """Run one job in a worker of Ray."""
    # Hydra keeps its configuration in singletons, which a new process does not have.
    setup_globals()
    Singleton.set_state(state)
    composed = cast(Any, config)
    HydraConfig.instance().set_config(composed)
    return run_job(
        task_function=task,
        config=composed,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )


def _collect(ray: ModuleType, job: object) -> JobReturn:
    """Wait for a job; if its worker died, the job has failed, and the others go on."""
    try:
        return ray.get(job)
    except ray.exceptions.RayError as error:
        return JobReturn(status=JobStatus.FAILED, _return_value=error)
