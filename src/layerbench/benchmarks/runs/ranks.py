"""The further processes of a run on this machine's processor, started with it and ended with it.

They do what the processes do that torchrun starts (``rl.distributed``): see ``runs.helper``.
"""

import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import RunFailedError
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.runs import helper_processes
from layerbench.benchmarks.runs.helper_processes import Helper
from layerbench.rl.distributed import Meeting


def size(config: RunConfig) -> int:
    """Give the number of processes that a run has without torchrun: 1 on GPUs and by vLLM."""
    most = helper_processes.most_processes(config)
    has_gpu = most > 1 and config.model.device == "auto" and torch.cuda.is_available()
    return 1 if has_gpu else most


@contextmanager
def started(
    config: RunConfig,
    folder: RunFolder,
    start: Start,
    *,
    base: RunFolder | None,
    early: Sequence[Helper] = (),
) -> Generator[Meeting | None]:
    """Give the run to its helpers, which live as long as the context.

    Args:
        config: The settings.
        folder: Folder of the run.
        start: Treatment of a run that is in the folder already.
        base: Run whose base evaluation is reused.
        early: Helpers that were started early; what is missing is started here.

    Yields:
        Where this process, the first, meets the others; None where it is alone.

    Raises:
        RunFailedError: A helper did not start.
    """
    with ExitStack() as stack:
        for helper in early:
            stack.enter_context(_ended(helper))
        count = size(config)
        if count == 1:
            yield None
            return
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="layerbench-"))
        store = Path(scratch) / "meeting"
        more = [helper_processes.start() for _ in range(1 + len(early), count)]
        for helper in more:
            stack.enter_context(_ended(helper))
        for rank, helper in enumerate([*early, *more], start=1):
            helper_processes.wait(helper)
            where = [str(folder.path), start.value, None if base is None else str(base.path)]
            asked = [serialize.pack(config), *where, str(store), rank, count]
            helper_processes.send(helper, asked)
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
def _ended(helper: Helper) -> Generator[None]:
    with helper:
        try:
            yield
        finally:
            helper.kill()
