import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import record_sections, run_record
from layerbench.benchmarks.records.run_record import RunRecord
from tests.support.record_example import example

GOLDEN = Path(__file__).with_name("golden_record.json")


def changed_json(change: Callable[[Any], object]) -> str:
    data = json.loads(example().to_json())
    change(data)
    return json.dumps(data)


def test_the_record_is_written_byte_for_byte_as_the_golden_one() -> None:
    # Other programs read this format: raise SCHEMA, then regenerate the file.
    assert example().to_json() == GOLDEN.read_text()


def test_record_survives_the_round_trip() -> None:
    assert RunRecord.from_json(example().to_json()) == example()


def test_a_record_of_a_gpu_has_its_memory_as_well() -> None:
    record = dataclasses.replace(example(), peak_device_memory_mb=2048.5)
    text = record.to_json()
    assert json.loads(text) == {**json.loads(example().to_json()), "peak_device_memory_mb": 2048.5}
    assert RunRecord.from_json(text) == record
    assert record.comparable() == example().comparable()


def test_read_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("{")
    with pytest.raises(FormatError, match=r"record\.json is not JSON"):
        run_record.read(path)


WRONG: list[tuple[Callable[[Any], object], str]] = [
    (lambda d: d.update(schema=3), "schema 3, this version of layerbench reads schema 2: run"),
    (lambda d: d.pop("schema"), "has schema None"),
    (lambda d: d.update(schema=True), "has schema True"),
    (lambda d: d.pop("seed"), "lacks field 'seed'"),
    (lambda d: d["model"].update(size=1), "record.model has extra field 'size'"),
    (lambda d: d.update(peak_device_memory_mb=None), "memory_mb must be float, got null"),
    (lambda d: d.update(peak_device_memory_mb="2"), 'memory_mb must be float, got "2"'),
    (lambda d: d.update(seed="3"), 'record.seed must be int, got "3"'),
    (lambda d: d.update(seed=True), "record.seed must be int, got true"),
    (lambda d: d["code"].update(dirty=0), "record.code.dirty must be bool, got 0"),
    (lambda d: d["selection"].update(layers=["1"]), r"layers[0] must be int"),
    (lambda d: d["training"].update(seconds=[]), "seconds must be an object"),
    (lambda d: d["evaluations"].reverse() or d["evaluations"].pop(), "needs its base"),
    (lambda d: d["evaluations"].append(d["evaluations"][0]), "share phase, split"),
    (lambda d: d["evaluations"][0]["count"].update(successes=2), "not the sum of the outcomes"),
    (lambda d: d["evaluations"][0]["count"].update(successes=9), "do not fit"),
    (lambda d: d["evaluations"][0].update(outcomes=[]), "needs tasks, and each task an episode"),
    (lambda d: d["training"].update(turns=-1), "less than nothing"),
    (lambda d: d["training"]["seconds"].update(play=-0.5), "less than nothing"),
    (lambda d: d["movement"]["per_layer"].update(first=0.1), "by number of the layer, not by 'fi"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_record_is_refused(change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        RunRecord.from_json(changed_json(change))
    assert message in str(caught.value)
    # Also where parts contradict each other: readers know by it which of many files is wrong.
    assert str(caught.value).startswith("the record")


@pytest.mark.parametrize(
    ("number", "message"), [("NaN", "NaN"), ("1e999", "too large"), (f"1{'0' * 400}", "too large")]
)
def test_numbers_must_be_finite(number: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        RunRecord.from_json(example().to_json().replace("512.0", number))


def test_duplicate_keys_are_refused() -> None:
    text = example().to_json().replace('"seed": 3,', '"seed": 3, "seed": 4,', 1)
    with pytest.raises(FormatError, match="'seed' is there twice"):
        RunRecord.from_json(text)


def test_lone_surrogates_are_refused() -> None:
    text = example().to_json().replace('"tiny"', '"\\ud800"')
    with pytest.raises(FormatError, match="surrogates"):
        RunRecord.from_json(text)


def test_nesting_too_deep_for_the_parser_is_refused() -> None:
    with pytest.raises(FormatError, match="is not JSON"):
        RunRecord.from_json("[" * 100_000)


def test_comparable_ignores_start_timings_and_memory() -> None:
    record = example()
    later = dataclasses.replace(
        record,
        started="2027-01-01T00:00:00+00:00",
        peak_memory_mb=1.0,
        training=dataclasses.replace(record.training, seconds={"play": 9.0}),
        evaluations=tuple(dataclasses.replace(e, seconds=9.0) for e in record.evaluations),
    )
    assert later.comparable() == record.comparable()


def test_comparable_sees_everything_else() -> None:
    record = example()
    assert dataclasses.replace(record, seed=4).comparable() != record.comparable()
    moved = dataclasses.replace(record, movement=record_sections.MovementRecord({"1": 0.02}, {}))
    assert moved.comparable() != record.comparable()


def test_evaluation_is_found_by_phase_and_split() -> None:
    assert example().evaluation(phase="final", split="seen").count.successes == 3
    with pytest.raises(KeyError, match="no final evaluation on 'unseen'"):
        example().evaluation(phase="final", split="unseen")
