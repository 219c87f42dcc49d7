"""MLflow: the folder ``mlruns``, unless ``MLFLOW_TRACKING_URI`` says otherwise."""

import importlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerbench.benchmarks.trackers.types import PROJECT, TrackedRun

_tracking: Any = importlib.import_module("mlflow.tracking")

_KEY = "layerbench.key"


class MlflowTracker:
    """Logs to the experiment ``layerbench``, or that of ``MLFLOW_EXPERIMENT_NAME``."""

    first = 0

    def __init__(self, run: TrackedRun) -> None:
        # Files, which the runs of a sweep can write at once; since 3.17 they must be allowed.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").resolve().as_uri()
        self._client = _tracking.MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        found = self._client.search_runs([number], f"tags.`{_KEY}` = '{run.key}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {_KEY: run.key, "mlflow.runName": run.name}
            self._id = self._client.create_run(number, tags=tags).info.run_id
            for setting, value in run.settings.items():
                self._client.log_param(self._id, setting, value)
        self.logged = {
            metric: max(m.step for m in self._client.get_metric_history(self._id, metric))
            for metric in (found[0].data.metrics if found else ())
        }

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(self._id, name, value, step=step)

    def finish(self, *, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


start = MlflowTracker
