"""Weights & Biases: offline, in the run's folder, unless ``WANDB_MODE`` says otherwise."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from layerbench.benchmarks.trackers.types import PROJECT, TrackedRun

_wandb: Any = importlib.import_module("wandb")


class WandbTracker:
    """Logs to the project ``layerbench``, or that of ``WANDB_PROJECT``.

    An offline store is written anew by each start, with all metrics of the run; ``wandb sync`` of
    the newest one has them all.
    """

    def __init__(self, run: TrackedRun) -> None:
        mode = os.environ.get("WANDB_MODE") or "offline"
        self._run = _wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=run.key,
            name=run.name,
            config=dict(run.settings),
            mode=mode,
            dir=os.environ.get("WANDB_DIR") or str(run.folder),
            resume="allow" if mode == "online" else None,
            settings=_wandb.Settings(
                silent=True, console="off", disable_git=True, x_disable_stats=True
            ),
        )
        # Steps must grow: a resumed run takes none that it has had.
        self.logged: Mapping[str, int] = {}
        self.first: int = self._run.step

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


start = WandbTracker
