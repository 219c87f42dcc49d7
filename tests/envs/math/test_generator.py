"""Generated problems: right answers, in range, in splits that share none."""

import random
import re

import pytest

from layerbench.envs.math import expressions, generator
from layerbench.envs.math.expressions import ProblemError
from layerbench.envs.math.generator import LEVELS, SPLITS
from layerbench.errors import UserError


def problems(split: str, count: int | None, **options: str) -> list[str]:
    tasks = generator.list_tasks(split=split, count=count, seed=0, **options)
    return [task.task_id.partition("/")[2] for task in tasks]


def by_python(problem: str) -> int:
    """Solve a problem by Python's own arithmetic."""
    verb, _, body = problem.partition(" ")
    body = re.sub(
        r"(\d(?: \d)*) in base (\d)",
        lambda match: str(int(match[1].replace(" ", ""), int(match[2]))),
        body,
    )
    if verb == "compute":
        return int(eval(body))
    body = re.sub(r"(\d) x", r"\1 * x", body).replace(" =", " ==")
    (solution,) = (x for x in range(100) if eval(body, {"x": x}))
    return solution


@pytest.mark.parametrize("level", LEVELS)
def test_answers_are_those_of_pythons_arithmetic(level: str) -> None:
    for problem in problems("train", 20, levels=level):
        assert expressions.solve(problem).value == by_python(problem)


@pytest.mark.parametrize("level", [name for name, kind in LEVELS.items() if kind.has_signs])
def test_permuted_signs_mean_others(level: str) -> None:
    meant = str.maketrans("+-*", "-*+")
    for problem in problems("train", 20, levels=level, signs="permuted"):
        value = expressions.solve(problem, signs="permuted").value
        assert value == by_python(problem.translate(meant))
        assert 0 <= value <= 99


@pytest.mark.parametrize("signs", expressions.SIGNS)
def test_splits_share_no_problem_in_any_order_of_terms(signs: str) -> None:
    keys = {
        split: {
            expressions.solve(problem, signs=signs).key
            for problem in problems(split, 250, levels="first", signs=signs)
        }
        for split in SPLITS
    }
    for split, found in keys.items():
        assert len(found) > 200
        assert not found & set().union(*(keys[other] for other in SPLITS if other != split))


def test_the_order_of_terms_makes_no_other_problem() -> None:
    keys = {expressions.solve(f"compute {sum_}").key for sum_ in ("2 * 3 + 4", "4 + 3 * 2")}
    assert len(keys) == 1
    assert expressions.solve("compute 7 - 5").key != expressions.solve("compute 7 + 5").key


def test_a_shorter_list_is_the_beginning_of_a_longer_one() -> None:
    longer = problems("test", 60)
    assert problems("test", 23) == longer[:23]
    assert len(set(longer)) == 60
    others = generator.list_tasks(split="test", count=60, seed=1)
    assert [task.task_id.partition("/")[2] for task in others] != longer


def test_levels_take_turns_and_next_ones_are_apart() -> None:
    tasks = generator.list_tasks(split="test", count=10, seed=0, levels="first")
    first = [name for name, kind in LEVELS.items() if not kind.is_next]
    assert [task.task_id.partition("/")[0] for task in tasks] == first * 2
    assert not set(first) & set(generator.levels_of("next", signs="plain"))


@pytest.mark.parametrize(
    "problem",
    [
        "compute 60 + 60",
        "compute 3 - 5 + 9",
        "compute 9 * 9 * 2 - 99",
        "compute 7 +",
        "compute ( 7 + 2",
        "compute 7 2",
        "compute  7",
        "compute 1 2 in base 2",
        "solve 3 x + 4 = 20",
        "solve 2 x + 4 = 2 x + 4",
        "7 + 5",
        "compute " + "( " * 90,
    ],
)
def test_what_is_no_problem_is_refused(problem: str) -> None:
    with pytest.raises(ProblemError):
        expressions.solve(problem)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'chain-3'"):
        generator.levels_of("chain3", signs="plain")
    with pytest.raises(UserError, match="did you mean 'permuted'"):
        generator.levels_of("first", signs="permute")
    with pytest.raises(UserError, match="no split 'dev'"):
        generator.list_tasks(split="dev", count=1, seed=0)
    with pytest.raises(UserError, match="problems of levels 'base', not 200"):
        generator.list_tasks(split="test", count=200, seed=0, levels="base")


def test_a_draw_is_of_its_split() -> None:
    rng = random.Random(0)
    for _ in range(20):
        task = generator.draw(rng, split="valid", levels="all", signs="plain")
        assert generator.split_of(expressions.solve(task.partition("/")[2]).key) == "valid"
