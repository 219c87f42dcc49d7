"""The process of one tracker: stores what the run writes to it, a JSON object a line.

The run starts ``python -m layerbench.benchmarks.trackers.process NAME``. Trackers hang, exit, print
and change signals and streams: here they do so apart from the run, which can end this process.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from layerbench.benchmarks.trackers.types import FINISH_S, TrackedRun, Tracker
from layerbench.envs.failures import one_line


def serve(start: Callable[[TrackedRun], Tracker], lines: Iterator[str]) -> None:
    """Start or resume a tracker's run, and store the metrics that follow.

    Args:
        start: Opens the run.
        lines: The run first, then steps, then whether it finished; without the last it was killed.
    """
    opened = json.loads(next(lines))
    folder = Path(opened.pop("folder"))
    tracker = start(TrackedRun(folder=folder, **opened))
    last, finished = dict(tracker.logged), False
    for line in lines:
        message = json.loads(line)
        if "finished" in message:
            finished = message["finished"]
            break
        step = message["step"]
        # An earlier start has logged what a killed run repeats, and what is sent again.
        values = {
            n: v for n, v in message["values"].items() if step > last.get(n, tracker.first - 1)
        }
        if values:
            tracker.log(values, step=step)
            last |= dict.fromkeys(values, step)
    tracker.finish(finished=finished)


def main() -> None:
    """Serve the tracker that is named by the first argument, and exit."""
    # Ctrl-C is for the run, which then says that it was interrupted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()
    name = sys.argv[1]
    try:
        module = importlib.import_module(f"layerbench.benchmarks.trackers.{name}_tracker")
        serve(module.start, sys.stdin)
    # Whatever a tracker raises, its own exits included: the last line on stderr says what.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        sys.stderr.write(f"\n{one_line(error)}\n")
        sys.stderr.flush()
        os._exit(1)
    # At the interpreter's end a tracker could wait for its server once more.
    os._exit(0)


def _end_after(run: int) -> None:
    """End this process if that of the run was killed, which ends it otherwise."""
    while os.getppid() == run:
        time.sleep(1)
    time.sleep(FINISH_S)
    os._exit(1)


if __name__ == "__main__":
    main()
