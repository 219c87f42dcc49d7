"""Many episodes at once, in worker processes or in this one."""

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, TypeVar, cast

from layerbench.envs.slots import EnvRecipe, Prepare, Reply, Request, Reset, Slots, Step
from layerbench.envs.types import EpisodeFailure, StepResult, Task, TaskStart

Content = TypeVar("Content", Task, str)

PREPARED_AT_ONCE = 8
"""Tasks a worker prepares per message, so that a long list does not look like a hung worker."""

EXIT_GRACE_S = 2.0
"""How long a worker may take to close its environments before it is killed."""


class EnvPool:
    """A fixed number of slots, each of which plays one episode at a time.

    Slot s belongs to worker s modulo ``num_workers`` and keeps its environment from episode to
    episode. An exception in an environment costs its own episode. A worker that dies or does not
    answer in time costs the episodes in its slots, and is restarted at the next call that needs
    it. Lost episodes are reported as ``EpisodeFailure``, by the call in which they are lost and by
    every later step, until the slot is reset.

    Workers end with the pool, at the latest with the process that made it, however that ends.

    Args:
        gym_id: Gymnasium id of the environment, optionally with its module before a colon.
        options: Arguments of the environment's constructor.
        max_turns: Actions after which an episode is truncated.
        num_slots: Episodes played at once.
        num_workers: Worker processes; 0 plays in this process, with the same results.
        timeout_s: Longest time for a worker to answer one call, all its slots together.
    """

    def __init__(
        self,
        gym_id: str,
        options: Mapping[str, Any],
        *,
        max_turns: int,
        num_slots: int,
        num_workers: int,
        timeout_s: float = 300.0,
    ) -> None:
        recipe = EnvRecipe(gym_id, dict(options), max_turns)
        self._num_slots = num_slots
        self._timeout_s = timeout_s
        self._local = Slots(recipe)
        self._workers = [_Worker(index, recipe) for index in range(min(num_workers, num_slots))]
        for worker in self._workers:
            worker.start()
        # Runs at close, when the pool is collected, or at the interpreter's exit.
        self._finalizer = weakref.finalize(self, _close_all, self._local, self._workers)

    @property
    def num_slots(self) -> int:
        """Episodes played at once."""
        return self._num_slots

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the running workers, in order."""
        return tuple(worker.pid for worker in self._workers if worker.alive)

    def reset(self, tasks: Mapping[int, Task]) -> dict[int, TaskStart | EpisodeFailure]:
        """Start an episode in each of the given slots; unfinished ones there are dropped."""
        return cast("dict[int, TaskStart | EpisodeFailure]", self._play(tasks, Reset))

    def step(self, actions: Mapping[int, str]) -> dict[int, StepResult | EpisodeFailure]:
        """Play one action in each of the given slots."""
        return cast("dict[int, StepResult | EpisodeFailure]", self._play(actions, Step))

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Let the workers load what the tasks need, in parallel, before any is played.

        This changes only how long later resets take. A task that cannot be prepared fails again
        at its reset, which reports it.
        """
        if not self._workers:
            self._local.handle(Prepare(tasks))
            return
        num_workers = len(self._workers)
        for first in range(0, len(tasks), PREPARED_AT_ONCE * num_workers):
            batch = tasks[first : first + PREPARED_AT_ONCE * num_workers]
            shares = {index: batch[index::num_workers] for index in range(num_workers)}
            self._exchange({index: Prepare(share) for index, share in shares.items() if share})

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> "EnvPool":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _play(
        self, contents: Mapping[int, Content], request: Callable[[dict[int, Content]], Request]
    ) -> Reply:
        """Send each slot's content to the slot's worker; return the outcomes in slot order."""
        assert self._finalizer.alive, "the pool is closed"
        assert all(0 <= slot < self._num_slots for slot in contents), "no such slot"
        if not self._workers:
            return self._local.handle(request(dict(sorted(contents.items()))))
        shares: dict[int, dict[int, Content]] = {}
        for slot, content in sorted(contents.items()):
            shares.setdefault(slot % len(self._workers), {})[slot] = content
        replies = self._exchange({index: request(share) for index, share in shares.items()})
        outcomes: dict[int, Any] = {}
        # The failure of a worker is the outcome of each of its slots.
        for index, reply in replies.items():
            outcomes |= (
                dict.fromkeys(shares[index], reply) if isinstance(reply, EpisodeFailure) else reply
            )
        return dict(sorted(outcomes.items()))

    def _exchange(self, requests: Mapping[int, Request]) -> dict[int, Reply | EpisodeFailure]:
        """Send to every worker before waiting for any; a lost worker's reply is a failure."""
        replies: dict[int, Reply | EpisodeFailure] = {}
        waiting: dict[Connection, _Worker] = {}
        try:
            for index, request in requests.items():
                worker = self._workers[index]
                worker.revive()
                # Before sending: an interrupt in between must not leave a reply for a later call.
                waiting[worker.connection] = worker
                if not worker.send(request):
                    del waiting[worker.connection]
                    replies[index] = worker.reap()
            deadline = time.monotonic() + self._timeout_s
            while waiting and (ready := _wait(waiting, deadline)):
                for connection in ready:
                    worker = waiting[connection]
                    replies[worker.index] = worker.receive()
                    del waiting[connection]
        finally:
            # These are overdue, or this process was interrupted (Ctrl-C). Their late replies would
            # be taken for replies to a later request, so the workers have to go.
            for worker in waiting.values():
                worker.kill()
                replies[worker.index] = EpisodeFailure(
                    f"env worker {worker.index} did not answer within {self._timeout_s:g} s"
                )
        return replies


class _Worker:
    """One worker process and the connection to it.

    It is a plain subprocess: ``multiprocessing.Process`` would import the main module of this
    process again in each worker, and with it everything a trainer needs.
    """

    connection: Connection
    _process: subprocess.Popen[bytes]

    def __init__(self, index: int, recipe: EnvRecipe) -> None:
        self.index = index
        self._recipe = recipe

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self) -> None:
        """Start the process, and send it the recipe of its environments."""
        self.connection, worker_end = Pipe()
        # Closed here once the worker has it: otherwise its death would not close the connection.
        with worker_end:
            fileno = worker_end.fileno()
            self._process = subprocess.Popen(
                # -P: otherwise -m puts the working directory in front of the module path.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "layerbench.envs.worker",
                    f"{fileno}",
                    f"{os.getpid()}",
                ],
                pass_fds=(fileno,),
                env=_worker_environment(),
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,  # stdout is for results; environments may print.
                process_group=0,  # Keeps the terminal's Ctrl-C from the worker.
            )
            self.connection.send(self._recipe)

    def revive(self) -> None:
        """Start a fresh process if the last one is gone."""
        if not self.alive:
            # Closes the connection, too.
            self.kill()
            self.start()

    def send(self, request: Request) -> bool:
        """Send a request; False if the process is gone."""
        try:
            self.connection.send(request)
        except ConnectionError:
            return False
        return True

    def receive(self) -> Reply | EpisodeFailure:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return self.reap()

    def reap(self) -> EpisodeFailure:
        """Clean up after a process that died, and report how it ended."""
        self.wait()
        self.kill()
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return EpisodeFailure(f"env worker {self.index} {how}")

    def wait(self) -> None:
        """Give the process time to end by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_GRACE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def request_exit(self) -> None:
        """Ask the process to end, without waiting for it."""
        with suppress(OSError):
            self.connection.send(None)


def _close_all(local: Slots, workers: Iterable[_Worker]) -> None:
    local.close()
    # All are asked before any is awaited, so that they close their environments side by side.
    for worker in workers:
        worker.request_exit()
    for worker in workers:
        worker.wait()
        worker.kill()


def _wait(waiting: Mapping[Connection, _Worker], deadline: float) -> list[Connection]:
    ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
    return cast("list[Connection]", ready)


def _worker_environment() -> dict[str, str]:
    """Give a worker this process's module path, and one thread for array operations.

    Numerical libraries would start a thread a core in every worker.
    """
    path = os.pathsep.join(sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
