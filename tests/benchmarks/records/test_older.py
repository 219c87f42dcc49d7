"""Records of before there were several temperatures."""

import json
from typing import Any

import pytest

from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records.run_record import RunRecord
from tests.support.record_example import example


def old(**settings: Any) -> str:  # noqa: ANN401 - settings of any type
    data = json.loads(example().to_json())
    data["schema"] = 1
    del data["best_temperatures"], data["best_differences"]
    data["settings"] |= settings
    return json.dumps(data)


def test_one_temperature_becomes_a_list_in_its_place() -> None:
    evaluated = {"tasks": 4, "temperature": 0.4, "seed": 0}
    record = RunRecord.from_json(old(eval=evaluated))
    assert list(record.settings["eval"].items()) == [
        ("tasks", 4),
        ("temperatures", [0.4]),
        ("valid_tasks", 0),
        ("seed", 0),
    ]
    assert (record.best_temperatures, record.best_differences) == ({}, {})
    assert record.evaluations == example().evaluations


@pytest.mark.parametrize("section", [None, [], "x", {"temperature": []}])
def test_settings_of_another_form_are_left_to_the_reader(section: object) -> None:
    assert RunRecord.from_json(old(eval=section)).schema == 2


def test_what_is_no_record_is_refused_as_before() -> None:
    with pytest.raises(FormatError, match="lacks field"):
        RunRecord.from_json('{"schema": 1, "settings": 3}')
    with pytest.raises(FormatError, match="has schema True"):
        RunRecord.from_json('{"schema": true}')
