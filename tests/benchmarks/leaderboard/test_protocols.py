"""The protocol of learning rates of a table: which records share it, and where it is said."""

import csv
import json
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import build, tables
from layerbench.benchmarks.leaderboard.types import Board
from layerbench.benchmarks.runs import resolve
from tests.support.sweep_example import Like, write_record, write_sweep

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SWEEP = {"none": 10, "full": 50, "0": 40, "1": 20}
TUNED = {"0 rates 0:0.5": 45, "1 rates 1:2": 48}
# Full training's rate in the preset quick.
EQUAL = Like(layer_rate=1e-4)


def boards_of(root: Path) -> dict[str, Board]:
    boards = build.gather([root]).boards
    return {board.key.protocol: board for board in boards}


def selections(board: Board) -> list[str]:
    return [row.selection for row in board.rows]


def layers_alone(board: Board) -> list[int]:
    return [gain.layer for gain in board.alone]


@pytest.mark.parametrize(
    ("like", "protocol", "words"),
    [
        (EQUAL, "equal", "preset quick  rates equal: 0.0001"),
        (Like(), "common", "preset quick  rates common: one layer 0.001, full 0.0001"),
    ],
)
def test_a_table_names_its_protocol_and_its_rates(
    tmp_path: Path, like: Like, protocol: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "runs", SWEEP, like)
    [board] = build.gather([tmp_path / "runs"]).boards
    assert (board.key.protocol, board.rates.protocol) == (protocol, protocol)
    assert (board.rates.layer, board.rates.full) == (like.layer_rate, 1e-4)
    gathered = build.gather([tmp_path / "runs"])
    assert words in tables.terminal(gathered)
    assert words in tables.markdown(gathered)
    argv = ["leaderboard", str(tmp_path / "runs"), "--format"]
    assert cli.main([*argv, "json"]) == 0
    [data] = json.loads(capsys.readouterr().out)["boards"]
    assert data["rates"] == {"protocol": protocol, "layer": like.layer_rate, "full": 1e-4}
    assert data["key"]["protocol"] == protocol
    assert cli.main([*argv, "csv"]) == 0
    lines = csv.DictReader(capsys.readouterr().out.splitlines())
    assert {line["protocol"] for line in lines} == {protocol}
    page = tmp_path / "page.html"
    assert cli.main([*argv, "html", "--out", str(page)]) == 0
    assert f"<span>{words.removeprefix('preset quick  ')}</span>" in page.read_text()


def test_several_layers_are_named_with_the_rate_of_full(tmp_path: Path) -> None:
    write_sweep(tmp_path, {**SWEEP, "0,1": 25})
    several = "one layer 0.001, full and several layers 0.0001"
    assert several in tables.terminal(build.gather([tmp_path]))


def test_layers_that_were_trained_apart_learned_at_the_rate_of_one(tmp_path: Path) -> None:
    write_sweep(tmp_path, {**SWEEP, "combine:0+1": 25})
    assert "one layer 0.001, full 0.0001" in tables.terminal(build.gather([tmp_path]))


def test_records_of_different_protocols_never_share_a_table(tmp_path: Path) -> None:
    write_sweep(tmp_path / "common", SWEEP)
    write_sweep(tmp_path / "equal", SWEEP, EQUAL)
    write_sweep(tmp_path / "tuned", TUNED)
    boards = boards_of(tmp_path)
    assert set(boards) == {"common", "equal", "tuned"}
    for protocol in ("common", "equal"):
        assert selections(boards[protocol]) == ["none", "full", "0", "1"]
        assert f"rates={protocol}" in boards[protocol].differs
    assert "rates=tuned" in boards["tuned"].differs


def test_tuned_layers_are_compared_with_the_full_training_of_their_settings(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP)
    name = boards_of(tmp_path)["common"].name
    write_sweep(tmp_path, TUNED)
    write_sweep(tmp_path, {"scale": 15, "full rates 0:2": 55})
    boards = boards_of(tmp_path)
    common, tuned = boards["common"], boards["tuned"]
    # The strategy stays beside the layers that it was made of.
    assert selections(common) == ["none", "full", "scale", "0", "1", "full rates 0:2"]
    assert selections(tuned) == ["none", "full", "scale", *TUNED]
    assert layers_alone(common) == layers_alone(tuned) == [0, 1]
    assert common.name == name != tuned.name
    estimate = tuned.rows[-1].contribution.estimate
    assert estimate is not None
    # (48 - 10) / (50 - 10)
    assert estimate.value == pytest.approx(0.95)
    assert (tuned.rates.layer, tuned.rates.full) == (None, 1e-4)
    assert "rates tuned: by layer, full 0.0001" in tables.terminal(build.gather([tmp_path]))


def test_a_sweep_of_tuned_layers_alone_is_one_table(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"none": 10, "full": 50, **TUNED})
    [board] = build.gather([tmp_path]).boards
    assert selections(board) == ["none", "full", *TUNED]
    assert resolve.load("keydoor", [f"layers=top:1@{tmp_path}"], preset="quick").layers == "1"


def test_layers_of_one_rate_are_taken_where_there_are_some(tmp_path: Path) -> None:
    write_sweep(tmp_path, {**SWEEP, **TUNED})
    assert resolve.load("keydoor", [f"layers=top:1@{tmp_path}"], preset="quick").layers == "0"


def test_two_rates_of_a_layer_are_noted(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"none": 10, "full": 50, **TUNED})
    write_record(tmp_path / "again", "1 rates 1:4", 30)
    [board] = build.gather([tmp_path]).boards
    assert layers_alone(board) == [0, 1]
    note = "layer 1 has 2 rates of its own: the first row counts as that layer's"
    assert note in board.notes


def test_adapters_of_one_rate_are_equal_whatever_the_rates_of_weights(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP)
    for path in tmp_path.glob("*/record.json"):
        data = json.loads(path.read_text())
        data["settings"]["train"] |= {"lora_rank": 4, "lora_learning_rate": 0.01}
        path.write_text(json.dumps(data))
    [board] = build.gather([tmp_path]).boards
    assert (board.rates.protocol, board.rates.layer, board.rates.full) == ("equal", 0.01, 0.01)


def test_rates_from_elsewhere_may_be_anything(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP)
    for path in tmp_path.glob("*/record.json"):
        data = json.loads(path.read_text())
        data["settings"]["train"] |= {"learning_rate": ["<b>"], "layer_learning_rate": None}
        path.write_text(json.dumps(data))
    [board] = build.gather([tmp_path]).boards
    assert "preset quick  rates unknown" in tables.terminal(build.gather([tmp_path]))
    assert (board.rates.layer, board.rates.full) == (None, None)
