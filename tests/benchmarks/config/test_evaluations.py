"""Which evaluations settings ask for."""

from dataclasses import replace

import pytest

from layerbench.benchmarks.config import evaluations
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.runs import resolve


def test_policies_are_scored_at_all_temperatures_and_on_validation_tasks() -> None:
    config = resolve.load(
        "keydoor",
        ["eval.temperatures=1,0.5,0", "eval.episodes_per_task=3", "eval.valid_tasks=4"],
        preset="quick",
    )
    planned = evaluations.planned(config, all_temperatures=True)
    assert [(p.split, p.temperature, p.episodes_per_task, p.validates) for p in planned] == [
        ("test", 1.0, 3, False),
        ("test", 0.5, 3, False),
        # Greedy episodes of a task are all the same.
        ("test", 0.0, 1, False),
        ("train", 1.0, 3, True),
        ("train", 0.5, 3, True),
        ("train", 0.0, 1, True),
    ]
    during = evaluations.planned(config, all_temperatures=False)
    assert [(p.split, p.temperature) for p in during] == [("test", 1.0), ("train", 1.0)]
    # Twice, before and after training: 2 x (4 tasks scored and 4 validated on) x 7 episodes.
    assert evaluations.episodes_of_evaluations(config, tasks=4) == 2 * 8 * 7
    config.eval.every, config.train = 2, replace(config.train, iterations=6)
    # The best checkpoint too; after 2 and 4 of 6 iterations at the first temperature alone.
    assert evaluations.episodes_of_evaluations(config, tasks=4) == 3 * 8 * 7 + 2 * 8 * 3


@pytest.mark.parametrize(
    "typed",
    [
        ["eval.valid_tasks=0"],
        ["eval.temperatures=1"],
        # What is scored must not choose.
        ["layers=none", "env.eval_splits=train"],
    ],
)
def test_nothing_is_validated_on(typed: list[str]) -> None:
    config = resolve.load("keydoor", typed, preset="quick")
    assert not evaluations.validates(config)
    planned = evaluations.planned(config, all_temperatures=True)
    assert not any(each.validates for each in planned)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["eval.temperatures="], "eval.temperatures is empty"),
        (["eval.temperatures=1,0.5,1.0"], "eval.temperatures repeats one"),
        (["eval.temperatures=1,-1"], "eval.temperatures must be at least 0"),
        (["eval.temperatures=hot"], "eval.temperatures must be a number, got 'hot'"),
        (["eval.temperatures=1", "eval.valid_tasks=8"], "eval.valid_tasks has no effect here"),
        (["eval.temperature=1"], "did you mean 'eval.temperatures'?"),
    ],
)
def test_mistakes_are_named(typed: list[str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve.load("keydoor", typed, preset="quick")
    assert says in str(caught.value)
