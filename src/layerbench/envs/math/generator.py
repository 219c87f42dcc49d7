"""The source ``math-gen``: problems drawn by named levels, in splits without a common problem.

The hash of a problem's canonical form decides its split, so that no seed can bring a problem of
one split into another, in any order of its terms.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from layerbench.envs.choices import check_known, nearest
from layerbench.envs.math import expressions
from layerbench.envs.math.expressions import BASES, LARGEST, ProblemError
from layerbench.envs.types import Task
from layerbench.errors import UserError

VERSION = 1
"""Version of the generator: another one draws other problems, or puts them into other splits."""

SPLITS: Mapping[str, int] = {"pretrain": 20_000, "train": 8_192, "valid": 512, "test": 1_024}
"""Largest number of tasks of a split that are listed where no number is asked for."""

# Of 16 parts of all problems.
_SHARES: Mapping[str, range] = {
    "pretrain": range(8),
    "train": range(8, 12),
    "valid": range(12, 14),
    "test": range(14, 16),
}
_PARTS = 16
# So many problems in a row that were drawn before, or are of other splits: a level has no more.
_EXHAUSTED = 300

Draw: TypeAlias = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Level:
    """A kind of problem.

    Attributes:
        draw: Draws one, whose values may still be out of range.
        is_next: It is harder than what the embedded model was cloned from.
        has_signs: Its problems have signs that can change places.
    """

    draw: Draw
    is_next: bool = False
    has_signs: bool = True


def _chain(numbers: int, largest: int) -> Draw:
    def draw(rng: random.Random) -> str:
        words = [str(rng.randint(1, largest))]
        for _ in range(numbers - 1):
            words += [rng.choice("+-*"), str(rng.randint(1, largest))]
        return f"compute {' '.join(words)}"

    return draw


def _brackets(rng: random.Random) -> str:
    inner = f"( {rng.randint(1, 9)} {rng.choice('+-')} {rng.randint(1, 9)} )"
    form = rng.choice(("{0} * {1}", "{1} * {0}", "{1} - {0}"))
    return f"compute {form.format(inner, rng.randint(2, 20))}"


def _two_brackets(rng: random.Random) -> str:
    one, other = (
        f"( {rng.randint(1, 9)} {rng.choice('+-')} {rng.randint(1, 9)} )" for _ in range(2)
    )
    return f"compute {one} {rng.choice('-*')} {other}"


def _equation(rng: random.Random) -> str:
    factor, x, term = rng.randint(2, 9), rng.randint(0, 20), rng.randint(1, 20)
    sign = rng.choice((1, -1))
    return f"solve {factor} x {'+' if sign > 0 else '-'} {term} = {factor * x + sign * term}"


def _equation_of_two_sides(rng: random.Random) -> str:
    more, less = rng.randint(3, 9), rng.randint(2, 8)
    x, term, sign = rng.randint(1, 20), rng.randint(1, 20), rng.choice((1, -1))
    right = (more - less) * x + sign * term
    if more <= less:
        raise ProblemError("the left side has more of x")
    return f"solve {more} x {'+' if sign > 0 else '-'} {term} = {less} x + {right}"


def _based(rng: random.Random) -> str:
    base = rng.choice(BASES)
    return f"compute {expressions.in_base(rng.randint(base, LARGEST), base)} in base {base}"


def _based_sum(rng: random.Random) -> str:
    return f"{_based(rng)} {rng.choice('+-')} {rng.randint(1, 20)}"


LEVELS: Mapping[str, Level] = {
    "chain-2": Level(_chain(2, 20)),
    "chain-3": Level(_chain(3, 9)),
    "brackets": Level(_brackets),
    "equation": Level(_equation),
    "base": Level(_based, has_signs=False),
    "chain-4": Level(_chain(4, 9), is_next=True),
    "chain-5": Level(_chain(5, 9), is_next=True),
    "brackets-2": Level(_two_brackets, is_next=True),
    "equation-2": Level(_equation_of_two_sides, is_next=True),
    "base-sum": Level(_based_sum, is_next=True),
}
"""Levels by name."""

GROUPS = ("first", "next", "all")
"""Names of several levels: what is cloned, what is harder, and both."""


def levels_of(levels: str, *, signs: str) -> tuple[str, ...]:
    """Read the option ``levels``: names of levels or of groups, with commas between them.

    In permuted signs a group leaves out the levels that have none.

    >>> levels_of("first", signs="permuted")
    ('chain-2', 'chain-3', 'brackets', 'equation')

    Raises:
        UserError: There is no such level.
    """
    check_known("env.signs", signs, expressions.SIGNS)
    chosen: dict[str, None] = {}
    for name in (part.strip() for part in levels.split(",")):
        check_known("level of math", name, (*GROUPS, *LEVELS))
        if name in LEVELS:
            chosen[name] = None
            continue
        for level, kind in LEVELS.items():
            in_group = name == "all" or kind.is_next == (name == "next")
            if in_group and (kind.has_signs or signs == "plain"):
                chosen[level] = None
    return tuple(chosen)


def split_of(key: str) -> str:
    """Tell which split a problem is in, by its canonical form."""
    digest = hashlib.sha256(f"math-gen|{VERSION}|{key}".encode()).digest()
    part = digest[0] % _PARTS
    return next(split for split, parts in _SHARES.items() if part in parts)


def list_tasks(
    *,
    split: str,
    count: int | None,
    seed: int,
    levels: str = "first",
    signs: str = "plain",
) -> tuple[Task, ...]:
    """Draw distinct problems of a split, of each level in turn as long as it has new ones.

    A shorter list is the beginning of a longer one.

    Raises:
        UserError: The split or a level is unknown, or there are fewer problems.
    """
    if split not in SPLITS:
        raise UserError(f"math has no split '{split}': {nearest(split, list(SPLITS))}")
    most = SPLITS[split] if count is None else count
    if most < 1:
        raise UserError(f"a list of tasks has at least one, not {most}")
    turns = [
        (name, random.Random(f"math-gen|{VERSION}|{split}|{seed}|{name}"))
        for name in levels_of(levels, signs=signs)
    ]
    tasks: dict[str, Task] = {}
    while turns and len(tasks) < most:
        for turn in tuple(turns):
            name, rng = turn
            problem = _draw_new(name, rng, split, signs, tasks)
            if problem is None:
                turns.remove(turn)
            elif len(tasks) < most:
                tasks[problem] = Task(problem, options={"task": problem}, seed=seed)
    if count is not None and len(tasks) < count:
        raise UserError(
            f"split '{split}' of math has {len(tasks)} problems of levels '{levels}', not {count}"
        )
    return tuple(tasks.values())


def draw(rng: random.Random, *, split: str, levels: str, signs: str) -> str:
    """Draw the task id of a problem of a split, of any of the levels."""
    name = rng.choice(levels_of(levels, signs=signs))
    problem = _draw_new(name, rng, split, signs, {})
    if problem is None:
        raise UserError(f"split '{split}' of math has no problem of level '{name}'")
    return problem


def _draw_new(
    name: str, rng: random.Random, split: str, signs: str, known: Mapping[str, object]
) -> str | None:
    """Draw the task id of a problem that is not known; None if there seems to be none."""
    for _ in range(_EXHAUSTED):
        try:
            text = LEVELS[name].draw(rng)
            key = expressions.solve(text).key
        except ProblemError:
            continue
        problem = f"{name}/{expressions.write(text, signs=signs)}"
        if split_of(key) == split and problem not in known:
            return problem
    return None
