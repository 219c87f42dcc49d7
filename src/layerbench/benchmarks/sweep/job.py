"""One run of a sweep, in the process of a worker and below it.

The worker's process carries the job that hydra composed; the run itself has a process of its own,
``python -m layerbench.benchmarks.sweep.job``, so that it starts as ``layerbench run`` does, its
memory is its own, and what kills it kills no other run.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from enum import StrEnum

from hydra.core.hydra_config import HydraConfig

from layerbench.benchmarks.config import compose, serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import HeldError, RunFailedError, UserError
from layerbench.benchmarks.records.run_folder import RunFolder, Start, default_path
from layerbench.benchmarks.records.run_record import BASE_SELECTION
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.runs.console import LogReporter
from layerbench.benchmarks.sweep import plan


class Status(StrEnum):
    """How a job ended; ``HELD`` left the run to another process."""

    DONE = "done"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job says at its end.

    Attributes:
        status: How it ended.
        message: Why it failed, in one line; else empty.
    """

    status: Status
    message: str


def carry(composed: object) -> Outcome:
    """Carry out the run that hydra composed the settings of.

    Whatever goes wrong in the run is an outcome, and written into its folder.
    """
    config = resolve.resolve(compose.from_hydra(composed))
    run = plan.PlannedRun(config, RunFolder(default_path(config)))
    try:
        if run.record() is not None:
            return Outcome(Status.DONE, "")
    except UserError as error:
        return Outcome(Status.FAILED, str(error))
    if run.folder.held:
        return Outcome(Status.HELD, "")
    outcome = _in_own_process(config, cwd=HydraConfig.get().runtime.cwd)
    if outcome.status is Status.FAILED and not run.folder.error_log.exists():
        run.folder.path.mkdir(parents=True, exist_ok=True)
        run.folder.error_log.write_text(f"{outcome.message}\n", encoding="utf-8")
    return outcome


def _in_own_process(config: RunConfig, *, cwd: str) -> Outcome:
    with tempfile.TemporaryFile("w+") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=cwd,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        # Left open for as long as this process lives: the child ends when it is closed.
        child.stdin.write(json.dumps([serialize.as_dict(config), config.run_root]) + "\n")
        child.stdin.flush()
        with child.stdin, child.stdout:
            said = child.stdout.read()
            status = child.wait()
        stderr.seek(0)
        return _outcome(said) or _crash(status, stderr.read())


def _outcome(said: str) -> Outcome | None:
    """Read what ``_main`` wrote; None if it did not come that far."""
    try:
        status, message = json.loads(said)
    except ValueError:
        return None
    return Outcome(Status(status), message)


def _crash(status: int, stderr: str) -> Outcome:
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    last = stderr.strip().splitlines()[-1:]
    return Outcome(Status.FAILED, ": ".join([f"the run's process ended by {how}", *last]))


def _run(config: RunConfig) -> Outcome:
    # Needs torch, which the worker's own process, which imports this module too, does without.
    from layerbench.benchmarks.runs.launch import launch

    folder = RunFolder(default_path(config))
    base = plan.base_of(config) if config.layers != BASE_SELECTION else None
    try:
        launch(config, folder, Start.CONTINUE, reporter=LogReporter(folder.log), base=base)
    except HeldError:
        return Outcome(Status.HELD, "")
    except (UserError, RunFailedError) as error:
        return Outcome(Status.FAILED, " ".join(str(error).split()))
    return Outcome(Status.DONE, "")


def _end_with_parent() -> None:
    """Wait until the parent, which never writes more, has closed the pipe or died."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _main() -> None:
    settings, root = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Only the outcome goes to the parent, whatever a library may print.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    config = serialize.restore(settings)
    config.run_root = root
    outcome = _run(config)
    with answer:
        answer.write(json.dumps([outcome.status, outcome.message]))


if __name__ == "__main__":
    _main()
