"""A further process of a run, which ``runs.ranks`` starts: ``python -m`` this module.

It gets the run on its stdin, takes part in it, and ends itself once its stdin closes.
"""

import json
import os
import sys
from pathlib import Path

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.runs.helper_processes import READY
from layerbench.benchmarks.runs.launch import launch
from layerbench.benchmarks.runs.parent import end_with_parent
from layerbench.benchmarks.runs.ranks import leave_words
from layerbench.rl.distributed import Meeting


def _main() -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    asked = sys.stdin.readline()
    if not asked:
        # The first process ended before it had a run for this one.
        return
    packed, folder, start, base, store, rank, count = json.loads(asked)
    end_with_parent()
    # Nobody reads what libraries print.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    meeting = Meeting(Path(store), rank=rank, size=count)
    try:
        launch(
            serialize.unpack(packed),
            RunFolder(Path(folder)),
            Start(start),
            base=None if base is None else RunFolder(Path(base)),
            meeting=meeting,
        )
    except Exception as error:
        leave_words(meeting, error)
        raise


if __name__ == "__main__":
    _main()
