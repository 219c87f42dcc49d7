"""Asks an environment that is not layerbench's own, in a process of its own.

There it may hang, exit or print, and this process goes on; ``layerbench.envs.answering`` is the
other side.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from layerbench.errors import UserError

START_S = 10.0
"""Time for a process to start and to import what every environment needs."""


def ask(question: Mapping[str, Any], *, name: str, timeout_s: float) -> Any:  # noqa: ANN401 - JSON
    """Have a question answered in a process of its own.

    Args:
        question: What ``layerbench.envs.answering`` reads, as JSON.
        name: Name of the environment, for errors.
        timeout_s: Longest time for the answer, once the process has started.

    Raises:
        UserError: The environment refused, or failed to answer.
    """
    doing = f"{name}, asked for its {question['what']}"
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "layerbench.envs.answering", f"{os.getpid()}"],
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            env=child_environment(),
            process_group=0,  # Keeps the terminal's Ctrl-C from it: this process ends it.
            timeout=timeout_s + START_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{doing}, did not answer within {timeout_s:g} s") from error
    # One that exits by itself may do so with 0.
    if child.returncode or not child.stdout:
        raise UserError(f"{doing}, ended its process with {child.returncode}")
    answer = json.loads(child.stdout)
    if "refused" in answer:
        raise UserError(answer["refused"])
    return answer["value"]


def child_environment() -> dict[str, str]:
    """Give a child process this one's module path, and one thread for array operations.

    Numerical libraries would start a thread a core in every worker.
    """
    path = os.pathsep.join(sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
