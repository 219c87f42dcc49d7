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

GOODBYE_S = 2.0
"""How long a worker may take to close its environments before it is killed."""


class EnvPool:
    """A fixed number of slots, each of which plays one episode at a time.

    Slot s lives in worker s modulo ``num_workers`` and keeps its environment from episode to
    episode. What goes wrong stays small: an exception in an environment costs its own episode; a
    worker that dies, or does not answer in time, costs the episodes in its slots and is started
    anew at the next call that needs it. Lost episodes are reported as ``EpisodeFailure``, by the
    call under way and by any later step, until the slot is reset.

    Workers end with the pool, at the latest with the process that made it, however that ends.

    Args:
        gym_id: Which environment, as Gymnasium's ``make`` takes it.
        options: Handed to the environment's constructor.
        max_turns: Actions after which an episode is truncated.
        num_slots: Episodes that can be under way at once.
        num_workers: Worker processes; 0 plays in this process, with the same results.
        timeout_s: How long a worker may take over one call, all its slots together.
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
        # A worker without a slot would have nothing to do.
        self._workers = [_Worker(index, recipe) for index in range(min(num_workers, num_slots))]
        for worker in self._workers:
            worker.start()
        # Runs at close, when the pool is collected, or at the interpreter's exit.
        self._finalizer = weakref.finalize(self, _close_all, self._local, self._workers)

    @property
    def num_slots(self) -> int:
        """Episodes that can be under way at once."""
        return self._num_slots

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers that are running, in their order."""
        return tuple(worker.pid for worker in self._workers if worker.alive)

    def reset(self, tasks: Mapping[int, Task]) -> dict[int, TaskStart | EpisodeFailure]:
        """Start an episode in each of the given slots; those under way there are dropped."""
        return cast("dict[int, TaskStart | EpisodeFailure]", self._play(tasks, Reset))

    def step(self, actions: Mapping[int, str]) -> dict[int, StepResult | EpisodeFailure]:
        """Play one action in each of the given slots."""
        return cast("dict[int, StepResult | EpisodeFailure]", self._play(actions, Step))

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Let the workers load what the tasks need, in parallel, before any is played.

        Changes only how long later resets take. A task that cannot be prepared is left for its
        reset to report.
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
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _play(
        self, contents: Mapping[int, Content], request: Callable[[dict[int, Content]], Request]
    ) -> Reply:
        """Send each slot's content to where the slot lives; the outcomes come in slot order."""
        assert self._finalizer.alive, "the pool is closed"
        assert all(0 <= slot < self._num_slots for slot in contents), "no such slot"
        if not self._workers:
            return self._local.handle(request(dict(sorted(contents.items()))))
        shares: dict[int, dict[int, Content]] = {}
        for slot, content in sorted(contents.items()):
            shares.setdefault(slot % len(self._workers), {})[slot] = content
        replies = self._exchange({index: request(share) for index, share in shares.items()})
        outcomes: dict[int, Any] = {}
        for index, reply in replies.items():
            outcomes |= (
                dict.fromkeys(shares[index], reply) if isinstance(reply, EpisodeFailure) else reply
            )
        return dict(sorted(outcomes.items()))

    def _exchange(self, requests: Mapping[int, Request]) -> dict[int, Reply | EpisodeFailure]:
        """Send to every worker before waiting for any; a lost worker's reply is the failure."""
        replies: dict[int, Reply | EpisodeFailure] = {}
        waiting: dict[Connection, _Worker] = {}
        try:
            for index, request in requests.items():
                worker = self._workers[index]
                worker.revive()
                waiting[worker.connection] = worker
                if not worker.send(request):
                    del waiting[worker.connection]
                    replies[index] = worker.bury()
            deadline = time.monotonic() + self._timeout_s
            while waiting and (ready := _wait(waiting, deadline)):
                for connection in ready:
                    worker = waiting[connection]
                    replies[worker.index] = worker.receive()
                    del waiting[connection]
        finally:
            # Overdue, or this process was interrupted: a late answer must not be taken for the
            # answer to a later request.
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
        self.connection, theirs = Pipe()
        with theirs:
            fileno = theirs.fileno()
            self._process = subprocess.Popen(
                # -P: no folder of its own making goes in front of this process's path.
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
                stdout=sys.__stderr__,  # Results alone go to stdout.
                process_group=0,  # Out of reach of the terminal's Ctrl-C.
            )
            self.connection.send(self._recipe)

    def revive(self) -> None:
        """Start a fresh process if the last one is gone."""
        if not self.alive:
            self.kill()
            self.start()

    def send(self, request: Request) -> bool:
        """Send a request; False if nobody is there to read it."""
        try:
            self.connection.send(request)
        except ConnectionError:
            return False
        return True

    def receive(self) -> Reply | EpisodeFailure:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return self.bury()

    def bury(self) -> EpisodeFailure:
        """Clean up after a process that died, and say how it did."""
        self.wait()
        self.kill()
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return EpisodeFailure(f"env worker {self.index} {how}")

    def wait(self) -> None:
        """Give the process a moment to end by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def say_goodbye(self) -> None:
        """Ask the process to end, without waiting for it."""
        with suppress(OSError):
            self.connection.send(None)


def _close_all(local: Slots, workers: Iterable[_Worker]) -> None:
    local.close()
    for worker in workers:
        worker.say_goodbye()
    for worker in workers:
        worker.wait()
        worker.kill()


def _wait(waiting: Mapping[Connection, _Worker], deadline: float) -> list[Connection]:
    ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
    return cast("list[Connection]", ready)


def _worker_environment() -> dict[str, str]:
    """Let a worker find the modules this process finds, and start no threads for arrays."""
    path = os.pathsep.join(sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
