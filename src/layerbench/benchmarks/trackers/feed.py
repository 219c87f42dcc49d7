"""The run's end of a tracker's process: sends metrics without waiting, and notices its loss."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from layerbench.benchmarks.records.provenance import TRACKER
from layerbench.benchmarks.records.text import plain
from layerbench.benchmarks.trackers.types import FINISH_S, INTERRUPTED_S, TrackedRun

_MAX_REASON_CHARS = 300


class Feed:
    """Sends a run's metrics to a tracker.

    Args:
        name: Name of the tracker.
        run: The run.
    """

    def __init__(self, name: str, run: TrackedRun) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed below
        self._process = subprocess.Popen(
            # -P keeps the working directory off sys.path, where a file could shadow a module.
            [sys.executable, "-P", "-m", TRACKER, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            # A group of its own, which is ended with all that the tracker has started.
            start_new_session=True,
            text=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A pipe that nobody reads blocks its writer, which must not be the run.
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        shown = {"name": run.name, "key": run.key, "folder": str(run.folder)}
        self._send({**shown, "settings": dict(run.settings)})

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Send metrics of a step."""
        self._send({"step": step, "values": dict(values)})

    def lost(self) -> str:
        """Say why the tracker has ended early; empty if it has not."""
        return "" if self._process.poll() is None else self._reason()

    def finish(self, *, finished: bool) -> str:
        """Tell the tracker that the run has ended, and wait until it has stored everything.

        Args:
            finished: The run is finished; else it was interrupted.

        Returns:
            Why something may be lost; empty if nothing is.
        """
        self._send({"finished": finished})
        self._lines.put(None)
        limit_s = FINISH_S if finished else INTERRUPTED_S
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"it did not end in {limit_s:g} s"
        return self._reason() if status else ""

    def close(self) -> None:
        """End the tracker with all that it has started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._lines.put(None)
        self._writer.join()
        self._errors.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        self._lines.put(json.dumps(message))

    def _write(self) -> None:
        assert self._process.stdin is not None
        # A tracker that has ended reads no more: `lost` says so.
        with contextlib.suppress(OSError), self._process.stdin as pipe:
            while (line := self._lines.get()) is not None:
                pipe.write(f"{line}\n")
                pipe.flush()

    def _reason(self) -> str:
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-1:] or ["it ended without a word"]
        return plain(last[0])[:_MAX_REASON_CHARS]
