"""One worker process of a pool, from the pool's side."""

import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from layerbench.envs.child_process import child_environment
from layerbench.envs.contract import ContractError
from layerbench.envs.slots import EnvRecipe, Reply, Request
from layerbench.envs.types import WorkerLoss
from layerbench.errors import UserError

EXIT_GRACE_S = 2.0
"""How long a worker may take to close its environments before it is killed."""

MIN_START_S = 60.0
"""Time for a worker to import its environment, where its time for an answer is shorter."""

_MAX_STARTS = 10
_SHOWN: set[str] = set()
"""Environments of which a worker has shown what they print."""


class WorkerStartError(UserError):
    """The environment's worker process breaks down whenever it starts."""


class WorkerProcess:
    """A worker process and the connection to it.

    It is a plain subprocess: ``multiprocessing.Process`` would import the main module of this
    process again in each worker, and with it everything a trainer needs.

    Attributes:
        index: Number of the worker in its pool.
        life: How often a process was started; an environment is gone with the life it was made in.
        connection: The connection to the process.
        has_answered: Whether the process has answered a request.

    Args:
        index: Number of the worker in its pool.
        recipe: How its environments are made.
        timeout_s: Longest time for an answer.
    """

    connection: Connection
    _process: subprocess.Popen[bytes]

    def __init__(self, index: int, recipe: EnvRecipe, *, timeout_s: float) -> None:
        self.index = index
        self.life = 0
        self.has_answered = False
        self._recipe = recipe
        self._timeout_s = timeout_s
        self._start_s = max(timeout_s, MIN_START_S)
        self._is_ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self) -> None:
        """Start the process, and send it the recipe of its environments."""
        self.life += 1
        self._is_ready = False
        self.has_answered = False
        self.connection, worker_end = Pipe()
        _limit_waits(self.connection, self._timeout_s)
        # Closed here once the worker has it: otherwise its death would not close the connection.
        with worker_end:
            fileno = worker_end.fileno()
            arguments = [f"{fileno}", f"{os.getpid()}"]
            # Once is enough.
            if self._recipe.env not in _SHOWN:
                _SHOWN.add(self._recipe.env)
                arguments.append("shows")
            self._process = subprocess.Popen(
                # -P: otherwise -m puts the working directory in front of the module path.
                [sys.executable, "-P", "-m", "layerbench.envs.worker", *arguments],
                pass_fds=(fileno,),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,  # stdout is for results; environments may print.
                process_group=0,  # Keeps the terminal's Ctrl-C from the worker.
            )
            # It may be dead already, which the first answer will tell.
            with suppress(ConnectionError):
                self.connection.send(self._recipe)

    def revive(self) -> None:
        """Start a fresh process if the last one is gone, and wait until one has started.

        Raises:
            WorkerStartError: It was lost several times while it started.
        """
        reasons: list[str] = []
        while len(reasons) < _MAX_STARTS:
            if not self.alive:
                # Closes the connection, too.
                self.kill()
                self.start()
            if self._is_ready:
                return
            loss = self._wait_for_start()
            if loss is None:
                self._is_ready = True
                return
            reasons.append(loss.reason)
            # A second wait of that kind would hardly end otherwise.
            if reasons.count(self._late) > 1:
                break
        raise WorkerStartError(
            f"{self._recipe.env} cannot be started: {reasons[-1]} as it started, "
            f"{len(reasons)} times"
        )

    def send(self, request: Request) -> WorkerLoss | None:
        """Send a request; returns how the process was lost if it cannot be."""
        try:
            self.connection.send(request)
        except BlockingIOError:
            return self.overdue(self._timeout_s)
        except OSError:
            return self.reap()
        return None

    def receive(self) -> Reply | WorkerLoss:
        """Receive a reply that has begun to arrive.

        Raises:
            ContractError: An environment does not keep to the contract.
        """
        try:
            reply: Reply | ContractError = self.connection.recv()
        except BlockingIOError:
            return self.overdue(self._timeout_s)
        except (EOFError, OSError):
            return self.reap()
        if isinstance(reply, ContractError):
            raise reply
        self.has_answered = self._is_ready
        return reply

    def overdue(self, limit_s: float) -> WorkerLoss:
        """Kill a process that does not answer in time."""
        self.kill()
        return WorkerLoss(f"env worker {self.index} did not answer within {limit_s:.3g} s")

    def reap(self) -> WorkerLoss:
        """Clean up after a process that died, and report how it ended."""
        self.wait()
        self.kill()
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return WorkerLoss(f"env worker {self.index} {how}")

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

    def _wait_for_start(self) -> WorkerLoss | None:
        try:
            if self.connection.poll(self._start_s):
                reply = self.receive()
                return reply if isinstance(reply, WorkerLoss) else None
        except OSError:
            return self.reap()
        self.kill()
        return WorkerLoss(self._late)

    @property
    def _late(self) -> str:
        return f"env worker {self.index} did not answer within {self._start_s:g} s"


def _limit_waits(connection: Connection, seconds: float) -> None:
    """Let a read or write of the connection fail that makes no progress for so long.

    A process that is stopped takes nothing, and may have sent half an answer.
    """
    whole = int(seconds)
    limit = struct.pack("ll", whole, max(int((seconds - whole) * 1e6), 0 if whole else 1))
    # The option is of the socket, which a second descriptor shares.
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
