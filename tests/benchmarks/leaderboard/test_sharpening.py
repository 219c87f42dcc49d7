"""The untrained base at other temperatures, and contributions at the best ones."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import cells, json_csv, tables
from layerbench.benchmarks.leaderboard.build import gather, tabulate
from layerbench.benchmarks.leaderboard.types import Board, Leaderboard
from layerbench.benchmarks.records import sharpening
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.contribution import Standing
from tests.support.leaderboard_example import first, played, run, write

TASKS = 64
# Tasks won at T=1, at T=0.5 and greedily; the same of 64 validation tasks.
BASE = {1.0: 10, 0.5: 24, 0.0: 30}
FULL = {1.0: 50, 0.5: 48, 0.0: 40}
SHARPER = {1.0: 30, 0.5: 30, 0.0: 28}
LEARNED = {1.0: 34, 0.5: 44, 0.0: 42}


def evaluations(phase: str, wins: Mapping[float, int]) -> list[Evaluation]:
    return [
        dataclasses.replace(played(phase, first(won, of=TASKS), split=split), temperature=t)
        for split in ("seen", "train")
        for t, won in wins.items()
    ]


def record(selection: str, seed: int, wins: Mapping[float, int] | None) -> RunRecord:
    plain = run(selection, seed, base=first(1), final=None if wins is None else first(1))
    listed = evaluations("base", BASE)
    if wins is not None:
        listed += evaluations("final", wins)
    best = sharpening.best_temperatures(listed, validation_split="train")
    return dataclasses.replace(plain, evaluations=tuple(listed), best_temperatures=best)


SWEEP = {"none": None, "full": FULL, "0": SHARPER, "1": LEARNED}


@pytest.fixture(scope="module")
def board() -> Board:
    records = [record(name, seed, wins) for seed in (0, 1) for name, wins in SWEEP.items()]
    [only], _ = tabulate([FoundRecord(Path(f"{n}.json"), r) for n, r in enumerate(records)])
    return only


def test_contributions_at_the_best_temperatures(board: Board) -> None:
    best = {row.selection: row.at_best for row in board.rows}
    assert all(best.values())
    temperatures = {name: found and dict(found.temperatures) for name, found in best.items()}
    assert temperatures == {
        "none": {0: 0.0, 1: 0.0},
        "full": {0: 1.0, 1: 1.0},
        "0": {0: 1.0, 1: 1.0},
        "1": {0: 0.5, 1: 0.5},
    }
    one, other = best["0"], best["1"]
    assert one is not None
    assert other is not None
    # C* = (44 - 30) / (50 - 30), where C = (34 - 10) / (50 - 10).
    assert other.contribution.estimate is not None
    assert other.contribution.estimate.value == pytest.approx(14 / 20)
    row = board.row("1")
    assert row is not None
    assert row.contribution.estimate is not None
    assert row.contribution.estimate.value == pytest.approx(24 / 40)
    # Layer 0 does what the base does greedily.
    assert one.contribution.estimate is not None
    assert one.contribution.estimate.value == pytest.approx(0.0)
    assert (one.to_base, other.to_base) == (Standing.UNCLEAR, Standing.ABOVE)
    assert one.verdict == "not clear of the base at its best temperature"


def test_the_base_at_other_temperatures_is_a_share_of_fulls_gain(board: Board) -> None:
    shares = {
        base.temperature: base.contribution.estimate and base.contribution.estimate.value
        for base in board.base_at
    }
    assert shares == {0.5: pytest.approx(14 / 40), 0.0: pytest.approx(20 / 40)}
    half, greedy = cells.temperatures(board)
    assert half.startswith("untrained base at T=0.5: 0.38, gain +0.22 ")
    assert greedy.startswith("untrained base greedy: 0.47, gain +0.31 ")
    assert "0.50 (" in greedy


def test_success_by_temperature_is_pooled_over_seeds(board: Board) -> None:
    for name, wins in SWEEP.items():
        row = board.row(name)
        assert row is not None
        won = {t: count.successes for t, count in row.by_temperature.items()}
        assert won == {t: 2 * n for t, n in (wins or BASE).items()}


def test_every_format_says_so(board: Board) -> None:
    leaderboard = Leaderboard((board,), (), (), ())
    text = tables.terminal(leaderboard)
    assert "C* 95%" in text
    assert "0.69 (0.5)" in text
    markdown = tables.markdown(leaderboard)
    assert "| best (T) | C\\* 95% |" in markdown
    assert "not clear of the base at its best temperature |" in markdown
    data = json.loads(json_csv.as_json(leaderboard))
    [_, _, _, learned] = data["boards"][0]["rows"]
    assert learned["at_best"]["contribution"]["estimate"]["value"] == pytest.approx(0.7)
    assert [base["temperature"] for base in data["boards"][0]["base_at"]] == [0.5, 0.0]
    head, *lines = json_csv.as_csv(leaderboard).splitlines()
    assert "best_contribution" in head.split(",")
    assert any("not clear of the base at its best temperature" in line for line in lines)


def test_a_narrow_terminal_keeps_both_contributions(board: Board) -> None:
    text = tables.terminal(Leaderboard((board,), (), (), ()), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "C*" in text


def test_where_full_is_not_clear_of_the_best_base_there_is_no_share() -> None:
    same = {1.0: 50, 0.5: 50, 0.0: 31}
    records = [record("none", 0, None), record("full", 0, {**same, 1.0: 30, 0.5: 31})]
    records.append(record("1", 0, LEARNED))
    [only], _ = tabulate([FoundRecord(Path(f"{n}.json"), r) for n, r in enumerate(records)])
    row = only.row("1")
    assert row is not None
    assert row.at_best is not None
    assert row.at_best.contribution.estimate is None
    [line] = [line for line in cells.caveats(only) if line.startswith("C* is undefined")]
    assert "at the best temperatures, full training is not clear of the base" in line


def test_runs_without_validation_have_no_such_columns(tmp_path: Path) -> None:
    for name in SWEEP:
        final = None if name == "none" else first(8)
        write(tmp_path, run(name, 0, base=first(4), final=final))
    [plain] = gather([tmp_path]).boards
    assert all(row.at_best is None for row in plain.rows)
    assert plain.base_at == ()
    assert "C*" not in tables.terminal(Leaderboard((plain,), (), (), ())).partition("success:")[0]


def test_the_page_draws_success_by_temperature(tmp_path: Path) -> None:
    for seed in (0, 1):
        for name, wins in SWEEP.items():
            write(tmp_path / "runs", record(name, seed, wins))
    page = tmp_path / "board.html"
    argv = ["leaderboard", str(tmp_path / "runs"), "--format", "html", "--out", str(page)]
    assert cli.main(argv) == 0
    text = page.read_text()
    assert "Success by temperature" in text
    assert "The untrained base has 0.16 at the first, T=0.5 0.38, greedy 0.47" in text
    assert '"temperature": 0.5' in text or '"temperature":0.5' in text
