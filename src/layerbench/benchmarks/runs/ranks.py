"""The further processes of a run on this machine's processor, started with it and ended with it.

They do what the processes do that torchrun starts (``rl.distributed``): see ``runs.helper``.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from layerbench.agents import torchrun
from layerbench.benchmarks.config import endpoints, serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import RunFailedError
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.envs.child_process import child_environment
from layerbench.rl.distributed import Meeting

HELPER = "layerbench.benchmarks.runs.helper"
"""The module that a helper executes."""

READY = "ready"
"""What a helper writes once it has imported what it needs."""

_NO_START = (
    "a further process of the run (model.processes) did not start: model.processes=1 does without, "
    "in more time"
)


def size(config: RunConfig) -> int:
    """Give the number of processes that a run has without torchrun: 1 on GPUs and by vLLM."""
    model = config.model
    on_cpu = model.device == "cpu" or (model.device == "auto" and not torch.cuda.is_available())
    is_alone = model.backend != "transformers" or endpoints.is_endpoint(model.name)
    if is_alone or not on_cpu or torchrun.processes() > 1:
        return 1
    return model.processes


@contextmanager
def started(
    config: RunConfig, folder: RunFolder, start: Start, *, base: RunFolder | None
) -> Generator[Meeting | None]:
    """Start the helpers of a run, for as long as the context lasts.

    Args:
        config: The settings.
        folder: Folder of the run.
        start: Treatment of a run that is in the folder already.
        base: Run whose base evaluation is reused.

    Yields:
        Where this process, the first, meets the others; None where it is alone.

    Raises:
        RunFailedError: A helper did not start.
    """
    count = size(config)
    if count == 1:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="layerbench-") as scratch, ExitStack() as stack:
        store = Path(scratch) / "meeting"
        helpers = [stack.enter_context(_helper()) for _ in range(1, count)]
        for rank, helper in enumerate(helpers, start=1):
            _wait(helper)
            where = [str(folder.path), start.value, None if base is None else str(base.path)]
            asked = [serialize.pack(config), *where, str(store), rank, count]
            _send(helper, asked)
        yield Meeting(store, rank=0, size=count)


def is_loss(error: Exception) -> bool:
    """Tell whether an error is gloo's about a process that failed, or was killed."""
    return isinstance(error, RuntimeError) and "by peer" in str(error)


@contextmanager
def losses_reported(folder: RunFolder, meeting: Meeting | None) -> Generator[None]:
    """Turn the loss of another process into one line, which says why if that one could."""
    try:
        yield
    except RuntimeError as error:
        if not is_loss(error):
            raise
        reason = "" if meeting is None else _last_words(meeting)
        raise RunFailedError(
            f"the run failed in another process{reason} (see {folder.error_log}): the same command "
            "goes on from the last checkpoint"
        ) from error


def leave_words(meeting: Meeting, error: Exception) -> None:
    """Write why a helper failed, for the first process to report."""
    line = str(error).strip().partition("\n")[0]
    _words(meeting).write_text(f": {line}", encoding="utf-8")


def _last_words(meeting: Meeting) -> str:
    # A helper's connections end a moment before it has written them; a killed one writes none.
    for _ in range(20):
        if _words(meeting).exists():
            return _words(meeting).read_text(encoding="utf-8")
        time.sleep(0.1)
    return ""


def _words(meeting: Meeting) -> Path:
    return meeting.store.with_name("last_words")


@contextmanager
def _helper() -> Generator["subprocess.Popen[str]"]:
    # A session of its own: Ctrl-C is the first process's to handle. -P keeps the working directory
    # off sys.path, where a user's file could shadow a module.
    with subprocess.Popen(
        [sys.executable, "-P", "-m", HELPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # With this one's module path: an environment may lie beside the user's script.
        env=child_environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait(helper: "subprocess.Popen[str]") -> None:
    """Wait until a helper has imported what it needs."""
    assert helper.stdout is not None
    if helper.stdout.readline().strip() != READY:
        raise RunFailedError(_NO_START)


def _send(helper: "subprocess.Popen[str]", asked: Sequence[object]) -> None:
    """Write the run to a helper that waits for it."""
    assert helper.stdin is not None
    try:
        helper.stdin.write(f"{json.dumps(asked)}\n")
        helper.stdin.flush()
    except BrokenPipeError as error:
        raise RunFailedError(_NO_START) from error
