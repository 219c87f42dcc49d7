"""Process that asks an environment one question: ``python -m layerbench.envs.answering PARENT``.

``layerbench.envs.child_process`` starts it. PARENT is the process id of the process that asks.
"""

import json
import os
import sys
import threading
import time
from pathlib import PurePath
from typing import Any

from layerbench.envs import failures, opened_files, registry
from layerbench.envs.checks import inspection
from layerbench.envs.printed import Printed
from layerbench.errors import UserError

PARENT_CHECK_S = 1.0
"""Interval at which the parent's id is checked."""


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    reference, what, arguments = (question[name] for name in ("reference", "what", "arguments"))
    try:
        return {
            "value": registry.answer_here(reference, what, arguments, further=inspection.QUESTIONS)
        }
    except UserError as error:
        return {"refused": " ".join(str(error).split())}
    # Nobody interrupts this process: the environment raised it.
    except KeyboardInterrupt as error:
        return {"refused": f"{reference}, asked for its {what}: {failures.one_line(error)}"}


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)


def main() -> None:
    """Read a question from stdin, and write the answer to stdout."""
    parent = int(sys.argv[1])
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    question = json.load(sys.stdin)
    if question["what"] == "source":
        opened_files.note()
    with os.fdopen(os.dup(1), "w") as answers:
        # stdout is for the answer alone: environments may print.
        os.dup2(2, 1)
        # Each question imports the environment: what is printed there is shown for the first.
        name = PurePath(question["reference"]).name
        printed = Printed(name, shows=question["what"] == "description")
        answer = _answer(question)
        printed.close()
        answers.write(json.dumps(answer))
    # Threads that an environment left behind would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
