"""One run of a sweep: hydra's job in a worker process, and the run in a child process of it.

The child is ``python -m layerbench.benchmarks.sweep.job``. A process for each run makes it start as
``layerbench run`` does, keeps its memory apart, and lets it be killed without harm to other runs.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum

from hydra.core.hydra_config import HydraConfig

from layerbench.benchmarks.config import compose, serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import HeldError, RunFailedError, UserError
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_record import BASE_SELECTION
from layerbench.benchmarks.runs import helper_processes
from layerbench.benchmarks.runs.console import LogReporter
from layerbench.benchmarks.runs.parent import end_with_parent
from layerbench.benchmarks.sweep import plan


class Status(StrEnum):
    """How a job ended; ``HELD`` means that another process is at work on the run."""

    DONE = "done"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a job.

    Attributes:
        status: How the job ended.
        message: Why it failed, in one line; else empty.
    """

    status: Status
    message: str


def execute(composed: object) -> Outcome:
    """Execute a run, given the settings that hydra composed.

    A failure of the run is returned as an outcome, and written to the run's ``error.log``.
    """
    config = compose.from_hydra(composed)
    run = plan.PlannedRun(config, RunFolder(default_path(config)))
    try:
        # Another sweep or a run may have finished it since this sweep was planned.
        if run.record() is not None:
            return Outcome(Status.DONE, "")
    except UserError as error:
        return Outcome(Status.FAILED, str(error))
    if run.folder.held:
        return Outcome(Status.HELD, "")
    # Hydra's launchers may change the working directory; relative paths in settings are of the one
    # that the sweep was typed in.
    outcome = _run_in_child(config, cwd=HydraConfig.get().runtime.cwd)
    if outcome.status is Status.FAILED and not run.folder.error_log.exists():
        # The outcome is reported as well: a full disk must not hide it.
        with contextlib.suppress(OSError):
            run.folder.path.mkdir(parents=True, exist_ok=True)
            run.folder.error_log.write_text(f"{outcome.message}\n", encoding="utf-8")
    return outcome


def _run_in_child(config: RunConfig, *, cwd: str) -> Outcome:
    # A file, not a pipe: nothing reads it while the child runs, and a full pipe blocks its writer.
    with tempfile.TemporaryFile("w+") as stderr:
        # -P keeps the working directory off sys.path, where a user's file could shadow a module.
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
        # The pipe stays open until the child ends: if this process dies, the kernel closes it, and
        # the child ends itself.
        child.stdin.write(f"{serialize.pack(config)}\n")
        child.stdin.flush()
        with child.stdin, child.stdout:
            answer = child.stdout.read()
            status = child.wait()
        stderr.seek(0)
        return _outcome(answer) or _crash(status, stderr.read())


def _outcome(answer: str) -> Outcome | None:
    """Parse the outcome that ``_main`` wrote; None if the child died before it."""
    try:
        status, message = json.loads(answer)
    except ValueError:
        return None
    return Outcome(Status(status), message)


def _crash(status: int, stderr: str) -> Outcome:
    cause = f"signal {-status}" if status < 0 else f"exit status {status}"
    last_line = stderr.strip().splitlines()[-1:]
    return Outcome(Status.FAILED, ": ".join([f"the run's process ended by {cause}", *last_line]))


def _run(config: RunConfig) -> Outcome:
    # The next line imports torch, which the worker process does without, though it imports this
    # module; the run's further processes do so at the same time.
    early = helper_processes.start_early(config)
    from layerbench.benchmarks.runs.launch import launch

    folder = RunFolder(default_path(config))
    base = plan.base_of(config) if config.layers != BASE_SELECTION else None
    try:
        reporter = LogReporter(folder.log)
        launch(config, folder, Start.CONTINUE, reporter=reporter, base=base, early=early)
    except HeldError:
        return Outcome(Status.HELD, "")
    except (UserError, RunFailedError) as error:
        return Outcome(Status.FAILED, " ".join(str(error).split()))
    return Outcome(Status.DONE, "")


def _main() -> None:
    settings = sys.stdin.readline()
    end_with_parent()
    # The parent reads the outcome from stdout: what libraries print there goes to stderr.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    outcome = _run(serialize.unpack(settings))
    with answer:
        answer.write(json.dumps([outcome.status, outcome.message]))


if __name__ == "__main__":
    _main()
