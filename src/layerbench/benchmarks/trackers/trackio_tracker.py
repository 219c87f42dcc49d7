"""Trackio: its local store, or the Space or server that its environment variables name."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from layerbench.benchmarks.trackers.types import PROJECT, TrackedRun

_IS_LOCAL = not any(map(os.environ.get, ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")))
if _IS_LOCAL:
    # Read when it is first imported: it would ask the Hub whose token there is.
    os.environ["HF_HUB_OFFLINE"] = "1"

_trackio: Any = importlib.import_module("trackio")
_store: Any = importlib.import_module("trackio.sqlite_storage").SQLiteStorage


class TrackioTracker:
    """Logs to the project ``layerbench``, or that of ``TRACKIO_PROJECT``."""

    first = 0

    def __init__(self, run: TrackedRun) -> None:
        self._project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        # Runs are resumed by their names.
        self._name = f"{run.name}-{run.key[:6]}"
        self.logged = self._stored()
        self._last = dict(self.logged)
        self._run = _trackio.init(
            self._project,
            name=self._name,
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self._run.log(dict(values), step=step)
        self._last |= dict.fromkeys(values, step)

    def finish(self, *, finished: bool) -> None:
        self._run.finish()
        # It raises nothing itself, whatever was lost.
        if _IS_LOCAL and self._stored() != self._last:
            raise OSError("its store does not have all that was logged")

    def _stored(self) -> dict[str, int]:
        if not _store.get_project_db_path(self._project).exists():
            return {}
        stored: dict[str, int] = {}
        for row in _store.get_logs(self._project, self._name):
            for name in row.keys() - {"step", "timestamp"}:
                stored[name] = max(row["step"], stored.get(name, 0))
        return stored


start = TrackioTracker
