"""Ranges of settings, and the errors of numbers outside."""

import dataclasses
from typing import Any

import pytest

from layerbench.rl.settings import AdvantageSettings, LossSettings, TrainSettings, ranges
from tests.support.train_settings import advantage_settings, loss_settings, train_settings


@pytest.mark.parametrize("settings", [AdvantageSettings, LossSettings, TrainSettings])
def test_every_number_has_a_range_and_no_setting_a_default(settings: type[Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(settings)}
    values = {AdvantageSettings: advantage_settings, LossSettings: loss_settings}
    made = values.get(settings, train_settings)()
    numbers = {
        name
        for name in fields
        if isinstance(value := getattr(made, name), int | float) and not isinstance(value, bool)
    }
    assert set(ranges(settings)) == numbers
    assert all(field.default is dataclasses.MISSING for field in fields.values())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"temperature": 0.0}, "temperature is 0, but a greedy policy cannot learn: take 1"),
        ({"grad_clip": float("inf")}, r"grad_clip must be at most 1_000_000_000 .*, got inf"),
        ({"learning_rate": 1e38}, r"learning_rate must be at most 10 \(AdamW moves .*"),
        ({"learning_rate": float("nan")}, "learning_rate must be at least 0, got nan"),
    ],
)
def test_number_outside_its_range_is_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        train_settings(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"clip_low": 1.5}, "clip_low must be from 0 to 1, got 1.5"),
        ({"clip_low": 1.0}, "clip_low must be below 1, got 1.0"),
        ({"importance_cap": 0.5}, "importance_cap is 0.5, but it bounds a weight that is 1 .*"),
    ],
)
def test_both_ends_of_a_range_are_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        loss_settings(**changes)
