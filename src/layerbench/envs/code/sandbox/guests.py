"""Sandboxed processes: each does one job, and is killed with all that it started."""

import atexit
import contextlib
import functools
import json
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, cast

from layerbench.envs.code.sandbox.levels import LEVELS, check_level, command, environment
from layerbench.errors import UserError

START_S = 20.0
"""Longest time for a sandbox to start, on a machine that may be busy."""

_SPARES = 2
_MOST_BYTES = 40 << 20
_PROBE = {"kind": "stream", "code": "print(6 * int(input()))", "cpu_s": 10}


class GuestLostError(Exception):
    """A program ended, took too long or wrote too much; the message says which in a word."""


class Guest:
    """A sandboxed process, and what it is asked.

    Start and use it in one thread: where bubblewrap starts it, it ends with that thread.

    Args:
        level: One of ``levels.LEVELS``.

    Raises:
        UserError: The level needs something that is not here.
    """

    def __init__(self, level: str) -> None:
        self._process = subprocess.Popen(
            command(level),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment(),
            start_new_session=True,
        )
        self._received = bytearray()
        # A program that does not read must not make this process wait for ever.
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(cast(Any, pipe).fileno(), False)

    def has_started(self) -> bool:
        """Wait until the sandbox stands, before any program is in it."""
        try:
            return self.hear(timeout_s=START_S) == {"started": True}
        except GuestLostError:
            return False

    def tell(self, message: Mapping[str, object], *, timeout_s: float) -> None:
        """Send a job or a request.

        Raises:
            GuestLostError: It has ended, or does not read.
        """
        content = memoryview(json.dumps(message).encode() + b"\n")
        pipe = cast(Any, self._process.stdin).fileno()
        deadline = time.monotonic() + timeout_s
        while content:
            _wait_for(pipe, selectors.EVENT_WRITE, deadline)
            try:
                content = content[os.write(pipe, content) :]
            except BlockingIOError:
                continue
            except OSError:
                raise GuestLostError("ended") from None

    def hear(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait for a reply; whatever it is, it was written by an untrusted program.

        Raises:
            GuestLostError: None came in time, or what came is no JSON object.
        """
        pipe = cast(Any, self._process.stdout).fileno()
        deadline = time.monotonic() + timeout_s
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            _wait_for(pipe, selectors.EVENT_READ, deadline)
            with contextlib.suppress(BlockingIOError):
                received = os.read(pipe, 1 << 20)
                if not received:
                    raise GuestLostError("ended")
                self._received += received
            if len(self._received) > _MOST_BYTES:
                raise GuestLostError("output")
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            reply: object = json.loads(line)
        except (ValueError, RecursionError):
            raise GuestLostError("reply") from None
        if not isinstance(reply, dict):
            raise GuestLostError("reply")
        return cast(dict[str, Any], reply)

    def close(self) -> None:
        """Kill it, and all that it started."""
        # The first process of a sandbox takes all others with it; without one there are no others.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                cast(Any, pipe).close()
        self._process.wait()


def _wait_for(pipe: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(max(deadline - time.monotonic(), 0)):
            raise GuestLostError("time")


class SandboxError(RuntimeError):
    """A sandbox did not start, where one of its kind has worked before."""


class Pool:
    """Guests that are started before they are needed, since that takes a while.

    Args:
        level: As in ``Guest``.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self._spares: list[_Spare] = []
        atexit.register(self.close)

    @contextlib.contextmanager
    def guest(self) -> Generator[Guest]:
        """Lend a guest that nobody has used; it is killed in the end.

        Raises:
            SandboxError: None can be started any more.
        """
        guest = self._started()
        try:
            yield guest
        finally:
            guest.close()
            while len(self._spares) < _SPARES:
                self._spares.append(_Spare(Guest(self.level), _here()))

    def _started(self) -> Guest:
        here = _here()
        for spare in [spare for spare in self._spares if spare.owner == here]:
            self._spares.remove(spare)
            if spare.guest.has_started():
                return spare.guest
            spare.guest.close()
        guest = Guest(self.level)
        if not guest.has_started():
            guest.close()
            raise SandboxError(f"a sandbox of level {self.level} did not start")
        return guest

    def close(self) -> None:
        """Kill those that wait."""
        for spare in self._spares:
            # Those of a process that this one was forked from are that one's to kill.
            if spare.owner[0] == os.getpid():
                spare.guest.close()
        self._spares = []


class _Spare(NamedTuple):
    guest: Guest
    owner: tuple[int, int]


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


@functools.cache
def pool_of(level: str) -> Pool:
    """Share one pool of a level in this process."""
    return Pool(level)


@functools.cache
def obstacle(level: str) -> str:
    """Start a guest, and say why that does not work here; empty if it does."""
    try:
        guest = Guest(level)
    except (UserError, OSError) as error:
        return str(error)
    try:
        if not guest.has_started():
            return "a sandbox of this kind does not start here"
        guest.tell(_PROBE, timeout_s=START_S)
        guest.tell({"stdin": "7"}, timeout_s=START_S)
        works = guest.hear(timeout_s=START_S).get("stdout") == "42\n"
    except GuestLostError as error:
        return f"a sandbox of this kind does not work here ({error})"
    finally:
        guest.close()
    return "" if works else "a sandbox of this kind does not work here"


@functools.cache
def level_in_force(least: str) -> str:
    """Find the strongest level that works here.

    Args:
        least: The weakest that is allowed.

    Raises:
        UserError: No level that is allowed works here; or it is unknown.
    """
    check_level(least)
    reasons: list[str] = []
    for level in LEVELS[: LEVELS.index(least) + 1]:
        reason = obstacle(level)
        if not reason:
            return level
        reasons.append(f"{level}: {reason}")
    weaker = [level for level in LEVELS[LEVELS.index(least) + 1 :] if not obstacle(level)]
    hint = f"; env.sandbox={weaker[0]} works, and allows more: see docs/code.md" if weaker else ""
    raise UserError(
        f"env.sandbox={least}: programs cannot be kept apart that well here "
        f"({'; '.join(reasons)}){hint}"
    )
