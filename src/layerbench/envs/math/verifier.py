"""Compares answers: exactly where they are plain numbers, else by math-verify in other processes.

math-verify parses answers by sympy, which may compute a number that fills the memory, or never
return. So what it may see is bounded beforehand (``guards``), and it runs in processes with limits
on time and memory, which are replaced when they reach one; the answer is then undecided.
"""

import atexit
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from layerbench.envs.math import guards
from layerbench.envs.math.answers import is_calculation, is_several, normal, rational
from layerbench.errors import UserError

CPU_S = 2
"""Time of a processor that a comparison may take, in seconds, up to one more."""

WALL_S = 60.0
"""Longest time for a comparison, in seconds, where processors are busy with other work."""

READY = b"."
"""What a process writes once it can be asked."""


class Verdict(StrEnum):
    """What a comparison has found."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


def verify(answers: Sequence[str], given: str) -> Verdict:
    """Compare the answer that was given with those that are right.

    Raises:
        UserError: math-verify is needed, and is not installed.
    """
    verdicts: list[Verdict] = []
    for answer in answers:
        verdict = decide_here(answer, given)
        if verdict is None:
            (verdict,) = _shared().judge([(answer, given)])
        if verdict is Verdict.RIGHT:
            return verdict
        verdicts.append(verdict)
    return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.WRONG


def decide_here(answer: str, given: str) -> Verdict | None:
    """Compare without sympy; None where it takes that."""
    if not given.strip():
        return Verdict.WRONG
    if normal(answer) == normal(given):
        return Verdict.RIGHT
    exact, other = rational(answer), rational(given)
    if exact is not None and other is not None:
        return Verdict.RIGHT if exact == other else Verdict.WRONG
    if exact is not None and _is_no_number(given):
        return Verdict.WRONG
    # Of several lines any might count.
    if "\\\\" in given and "\\\\" not in answer:
        return Verdict.WRONG
    is_bounded = guards.is_bounded(answer) and guards.is_bounded(given)
    return None if is_bounded else Verdict.UNDECIDED


def _is_no_number(given: str) -> bool:
    """Tell whether it is still to be computed, or several numbers, of which any might count."""
    return is_calculation(given) or is_several(given) or _contradicts_itself(given)


def _contradicts_itself(given: str) -> bool:
    """Tell whether it equates different numbers, as in 7 = 5."""
    numbers = {rational(side) for side in given.split("=")} - {None}
    return len(numbers) > 1


class Pool:
    """Processes that compare answers by math-verify, each replaced when it reaches a limit.

    Args:
        size: Number of processes.
    """

    def __init__(self, size: int = 1) -> None:
        self._size = size
        self._processes: list[_Process] = []

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Compare pairs of a right answer and one that was given, side by side.

        Raises:
            UserError: math-verify is not installed.
        """
        waiting = deque(enumerate(pairs))
        verdicts: dict[int, Verdict] = {}
        while len(verdicts) < len(pairs):
            self._ask(waiting)
            self._collect(verdicts)
        return [verdicts[number] for number in range(len(pairs))]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def _ask(self, waiting: deque[tuple[int, tuple[str, str]]]) -> None:
        """Give waiting pairs to idle processes."""
        for place in range(self._size):
            if not waiting:
                return
            if place == len(self._processes):
                self._processes.append(_Process())
            if self._processes[place].pair is None:
                if not self._processes[place].ask(*waiting[0]):
                    # It was ended by something else meanwhile.
                    self._processes[place].kill()
                    self._processes[place] = _Process()
                    self._processes[place].ask(*waiting[0])
                waiting.popleft()

    def _collect(self, verdicts: dict[int, Verdict]) -> None:
        """Wait until a process has answered or is lost."""
        busy = [process for process in self._processes if process.pair is not None]
        ends = min(process.ends for process in busy)
        _wait([process.reader for process in busy], seconds=ends - time.monotonic())
        for process in busy:
            number = process.pair
            verdict = process.answer()
            if verdict is None or number is None:
                continue
            verdicts[number] = verdict
            if process.is_lost:
                process.kill()
                self._processes.remove(process)


@dataclass(slots=True)
class _Process:
    """A process of ``verify_process``, and the pair that it has been asked of."""

    pair: int | None = None
    ends: float = 0.0
    is_lost: bool = False
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "layerbench.envs.math.verify_process", str(CPU_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # No other variables: nothing of a user's is needed to compare two numbers.
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            process_group=0,  # Keeps the terminal's Ctrl-C from it: this process ends it.
        )
        if not _wait([self.reader], seconds=WALL_S) or os.read(self.reader, 1) != READY:
            self.kill()
            raise UserError(
                "answers are compared by math-verify, which cannot be imported: "
                "pip install 'layerbench[math]'"
            )

    @property
    def reader(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def ask(self, number: int, pair: tuple[str, str]) -> bool:
        """Send a pair; False if the process has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(pair).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return False
        self.pair, self.ends = number, time.monotonic() + WALL_S
        return True

    def answer(self) -> Verdict | None:
        """Give the verdict if there is one by now; of a lost process it is undecided."""
        is_due = _wait([self.reader], seconds=0.0)
        if not is_due and time.monotonic() < self.ends:
            return None
        # The process writes one letter for each pair.
        letter = os.read(self.reader, 1) if is_due else b""
        self.pair, self.is_lost = None, letter not in (b"r", b"w", b"u")
        return {b"r": Verdict.RIGHT, b"w": Verdict.WRONG}.get(letter, Verdict.UNDECIDED)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    # What was still to be written to it.
                    continue


def _wait(readers: Sequence[int], *, seconds: float) -> bool:
    """Wait until one of the pipes can be read; False if none can in time."""
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        return bool(selector.select(max(0.0, seconds)))


_of_this_process: dict[int, Pool] = {}


def _shared() -> Pool:
    """Give the pool of this process; one that was forked has its own."""
    pool = _of_this_process.get(os.getpid())
    if pool is None:
        _of_this_process.clear()
        pool = _of_this_process[os.getpid()] = Pool()
        atexit.register(pool.close)
    return pool
