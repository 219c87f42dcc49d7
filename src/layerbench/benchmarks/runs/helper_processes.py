"""Starts the further processes of a run on this machine's processor, without torch's imports.

They import for seconds, and so does the first process: started before it does, they are ready with
it.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from layerbench.agents import torchrun
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import RunFailedError
from layerbench.envs.child_process import child_environment

HELPER = "layerbench.benchmarks.runs.helper"
"""The module that a helper executes."""

READY = "ready"
"""What a helper writes once it has imported what it needs."""

_NO_START = (
    "a further process of the run (model.processes) did not start: model.processes=1 does without, "
    "in more time"
)

Helper = subprocess.Popen[str]


def most_processes(config: RunConfig) -> int:
    """Give the number of processes that a run has on a machine without a GPU."""
    model = config.model
    is_alone = model.backend != "transformers" or endpoints.is_endpoint(model.name)
    if is_alone or model.device not in ("cpu", "auto") or torchrun.processes() > 1:
        return 1
    return model.processes


def start_early(config: RunConfig) -> list[Helper]:
    """Start the helpers that a run will have, unless it may turn out to be one of a GPU.

    Until they get the run, they end with this process.
    """
    may_have_gpu = config.model.device == "auto" and any(Path("/dev").glob("nvidia[0-9]*"))
    return [] if may_have_gpu else [start() for _ in range(1, most_processes(config))]


def start() -> Helper:
    """Start a helper, to be ended by the caller."""
    # A session of its own: Ctrl-C is the first process's to handle. -P keeps the working directory
    # off sys.path, where a user's file could shadow a module.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", HELPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # With this one's module path: an environment may lie beside the user's script.
        env=child_environment(),
    )


def wait(helper: Helper) -> None:
    """Wait until a helper has imported what it needs."""
    assert helper.stdout is not None
    if helper.stdout.readline().strip() != READY:
        raise RunFailedError(_NO_START)


def send(helper: Helper, asked: Sequence[object]) -> None:
    """Write the run to a helper that waits for it."""
    assert helper.stdin is not None
    try:
        helper.stdin.write(f"{json.dumps(asked)}\n")
        helper.stdin.flush()
    except BrokenPipeError as error:
        raise RunFailedError(_NO_START) from error
