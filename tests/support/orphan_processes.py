"""A process with a pool, run and killed by tests: ``orphan_processes.py HOW``.

It prints the process ids of its workers after a reset, and then waits to be killed: ``busy`` during
a step that never ends, ``idle`` between two steps. With ``forget`` it ends by itself without
closing its pool.
"""

import signal
import sys

from misbehaving_envs import ENV

from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task


def main() -> None:
    pool = EnvPool(ENV, {}, max_turns=9, num_slots=4, num_workers=2)
    pool.reset({slot: Task("t") for slot in range(4)})
    sys.stdout.write(f"{' '.join(map(str, pool.worker_pids))}\n")
    sys.stdout.flush()
    match sys.argv[1]:
        case "busy":
            pool.step(dict.fromkeys(range(4), "hang"))
        case "idle":
            signal.pause()
        case _:
            pass


if __name__ == "__main__":
    main()
