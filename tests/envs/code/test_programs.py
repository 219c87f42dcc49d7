"""Generated tasks: split by construction, solved by their reference, told apart by their lines."""

import itertools
import re

import pytest

from layerbench.envs.code.operations import PARAMETERS, RETURNS, STEPS, Step, renamed
from layerbench.envs.code.programs import LARGEST, LEVELS, SPLITS, program_of, split_of, task_of


@pytest.mark.parametrize("level", LEVELS)
def test_the_reference_passes_and_its_shorter_forms_do_not(level: str) -> None:
    for split, number in itertools.product(SPLITS, range(3)):
        task = task_of(level, split, number)
        lines = [step.line for step in task.steps]
        assert split_of([step.operation for step in task.steps]) == split
        assert len(lines) - 1 in LEVELS[level]
        assert set(lines) <= set(task.lines)
        assert 10 <= len(task.lines) <= 20
        assert all(test.passes(program_of(lines)) for test in task.tests)
        assert all(0 <= n <= LARGEST for test in task.tests for n in test.argument)
        for left_out in range(len(lines) - 1):
            shorter = program_of([*lines[:left_out], *lines[left_out + 1 :]])
            assert not all(test.passes(shorter) for test in task.tests)


def test_no_two_lines_are_equal_for_a_tokenizer_of_words() -> None:
    lines = [Step(kind, k).line for kind in (*STEPS, *RETURNS) for k in PARAMETERS]
    words = {line: _words(line) for line in lines}
    assert len(set(words.values())) == len(words)


def _words(line: str) -> tuple[str, ...]:
    # Letters and digits, and operators that have spaces around them.
    return tuple(re.findall(r"[a-z0-9]+|(?<= )[-+*/%<>=!]+(?= )", line))


def test_the_split_follows_from_kinds_and_order_alone() -> None:
    families = [(*pair, end) for pair in itertools.permutations(STEPS, 2) for end in RETURNS]
    counts = dict.fromkeys(SPLITS, 0)
    for family in families:
        counts[split_of(family)] += 1
    assert sum(counts.values()) == len(families)
    shares = {split: round(count / len(families), 1) for split, count in counts.items()}
    assert shares == {"pretrain": 0.5, "train": 0.3, "valid": 0.1, "test": 0.1}


def test_permuted_names_are_a_cycle_within_each_kind() -> None:
    kinds = (*STEPS, *RETURNS)
    assert {renamed(kind) for kind in kinds} == set(kinds)
    assert all(renamed(kind) != kind and renamed(kind).kind == kind.kind for kind in kinds)
    task = task_of("medium", "test", 0)
    said, meant = task.sentence(permuted=True), task.sentence(permuted=False)
    assert all(s != m for s, m in zip(said.split(" , "), meant.split(" , "), strict=True))
    for step in task.steps:
        other = Step(renamed(step.operation), step.number)
        assert other.line in task.lines


def test_a_task_is_the_same_whenever_it_is_drawn() -> None:
    first = task_of("long", "train", 3)
    task_of.cache_clear()
    assert task_of("long", "train", 3) == first
    assert first.sentence(permuted=False).startswith(
        "triple every item , drop the first item , subtract 4 from every item , sort the list "
    )
