"""Tasks of ``code-gen``: a program drawn by the name of the task, its sentence, tests and lines."""

import functools
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from layerbench.envs.choices import check_known
from layerbench.envs.code.interpreter import run
from layerbench.envs.code.operations import PARAMETERS, RETURNS, STEPS, Operation, Step, renamed
from layerbench.envs.code.values import ProgramError, Value

LEVELS: Mapping[str, tuple[int, ...]] = {"short": (1, 2), "medium": (3,), "long": (4,)}
"""Numbers of lines before the ``return``, by level."""

SPLITS: Mapping[str, range] = {
    "pretrain": range(10),
    "train": range(10, 16),
    "valid": range(16, 18),
    "test": range(18, 20),
}
"""Twentieths of the families, by a hash: a family is in one split alone, at any level."""

NUM_TASKS = 100_000
"""Tasks of a split at a level."""

NUM_EXAMPLES = 3
"""Tests that a task may show; the others are hidden."""

LARGEST = 99
"""Largest number in a text; none is negative."""

_TWENTIETHS = 20
_NUM_TESTS = 9
_NUM_LINES = 10
_ITEMS = (3, 4, 5)
_RANGES = (9, 15, 20)
_TRIES = 40


@dataclass(frozen=True, slots=True)
class Test:
    """One call, and what it has to return."""

    argument: tuple[int, ...]
    result: Value

    def passes(self, program: str) -> bool:
        """Run a program on it."""
        try:
            found = run(program, [list(self.argument)])
        except ProgramError:
            return False
        return type(found) is type(self.result) and found == self.result


@dataclass(frozen=True, slots=True)
class CodeTask:
    """A task.

    Attributes:
        steps: The lines of the reference, with the ``return``.
        lines: Lines to choose from, those of the reference among them.
        tests: The tests; the first ``NUM_EXAMPLES`` may be shown.
    """

    steps: tuple[Step, ...]
    lines: tuple[str, ...]
    tests: tuple[Test, ...]

    def sentence(self, *, permuted: bool) -> str:
        """Word the task."""
        *steps, last = [step.phrase(permuted=permuted) for step in self.steps]
        return " , ".join([*steps, f"then {last}"])

    @property
    def task_type(self) -> str:
        """The number of lines, with the ``return``."""
        return f"{len(self.steps)} lines"


def program_of(lines: Sequence[str]) -> str:
    r"""Write lines as a function.

    >>> program_of(["return xs"])
    'def f(xs):\n    return xs'
    """
    return "\n    ".join(["def f(xs):", *lines])


def split_of(operations: Sequence[Operation]) -> str:
    """Find the split of a family: the kinds of lines in their order, without numbers."""
    text = "|".join(operation.name for operation in operations)
    part = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % _TWENTIETHS
    return next(split for split, parts in SPLITS.items() if part in parts)


def check_level(level: str) -> None:
    """Refuse a level that there is not.

    Raises:
        UserError: It is unknown.
    """
    check_known("env.level", level, list(LEVELS))


def parsed_name(name: str) -> tuple[str, str, int]:
    """Take the name of a task apart: level, split, number.

    Raises:
        ValueError: There is no such task.
    """
    level, split, number = (*name.split("/"), "", "")[:3]
    known = level in LEVELS and split in SPLITS and number.isdecimal() and number.isascii()
    if not known or len(number) > 6 or int(number) >= NUM_TASKS or name.count("/") != 2:
        raise ValueError(f"there is no task '{name:.80}': tasks are named like medium/train/0")
    return level, split, int(number)


@functools.lru_cache(maxsize=2_000)
def task_of(level: str, split: str, number: int) -> CodeTask:
    """Draw the task of this name: always the same.

    Programs with a line that changes nothing on the tests are not drawn.
    """
    rng = random.Random(f"code-gen|{level}|{split}|{number}")
    while True:
        kinds = rng.sample(STEPS, rng.choice(LEVELS[level]))
        operations = [*kinds, rng.choice(RETURNS)]
        # A family's split is looked at first: all that follows takes longer.
        if split_of(operations) != split:
            continue
        steps = tuple(Step(kind, _number(kind, rng)) for kind in operations)
        tests = _tests(steps, rng)
        if tests and _needs_every_line(steps, tests):
            return CodeTask(steps, _lines(steps, rng), tests)


def _number(operation: Operation, rng: random.Random) -> int:
    return rng.choice(PARAMETERS) if operation.has_number else 0


def _tests(steps: Sequence[Step], rng: random.Random) -> tuple[Test, ...]:
    """Draw arguments on which no line leaves the range of numbers or an empty list."""
    found: dict[tuple[int, ...], Test] = {}
    for _ in range(_TRIES):
        largest = rng.choice(_RANGES)
        argument = tuple(rng.randint(0, largest) for _ in range(rng.choice(_ITEMS)))
        result = _result(steps, argument)
        if result is not None:
            found.setdefault(argument, Test(argument, result))
        if len(found) == _NUM_TESTS:
            return tuple(found.values())
    return ()


def _result(steps: Sequence[Step], argument: tuple[int, ...]) -> Value:
    *lines, last = [step.line for step in steps]
    value: Value = list(argument)
    for line in lines:
        value = run(program_of([line, "return xs"]), [value])
        if not value or not 0 <= min(value) <= max(value) <= LARGEST:
            return None
    value = run(program_of([last]), [value])
    is_shown = isinstance(value, list) or value <= LARGEST
    return cast(Value, value) if is_shown else None


def _needs_every_line(steps: Sequence[Step], tests: Sequence[Test]) -> bool:
    lines = [step.line for step in steps]
    return not any(
        all(test.passes(program_of([*lines[:left_out], *lines[left_out + 1 :]])) for test in tests)
        for left_out in range(len(lines) - 1)
    )


def _lines(steps: Sequence[Step], rng: random.Random) -> tuple[str, ...]:
    """List lines to choose from, in an order that says nothing.

    Those of the reference, each operation that a permuted sentence says in its place, the
    reference's operations with each other's numbers, then any; and every ``return``.
    """
    *kinds, _ = steps
    numbers = sorted({step.number for step in kinds} - {0}) or [rng.choice(PARAMETERS)]
    wanted = [*kinds, *(Step(renamed(step.operation), step.number) for step in kinds)]
    other = [Step(step.operation, k) for step in kinds if step.number for k in numbers]
    rest = [Step(kind, rng.choice(numbers) if kind.has_number else 0) for kind in STEPS]
    rng.shuffle(other)
    rng.shuffle(rest)
    chosen = dict.fromkeys(step.line for step in (*wanted, *other, *rest))
    places = [kind.line.split("{k}")[0] for kind in STEPS]
    ordered = sorted(list(chosen)[:_NUM_LINES], key=lambda line: (_place(line, places), line))
    return (*ordered, *(kind.line for kind in RETURNS))


def _place(line: str, places: Sequence[str]) -> int:
    return next(index for index, start in enumerate(places) if line.startswith(start))
