import contextlib
import dataclasses
import io
from pathlib import Path

import pytest
from rich.cells import cell_len

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import fitting, run_table
from layerbench.benchmarks.records.fitting import Column, Step, Table
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import pool_by_type
from layerbench.benchmarks.sweep import plan_table
from tests.support import leaderboard_example, small_sweep
from tests.support.record_example import example
from tests.support.terminal import lines_at

WIDTHS = (60, 80, 100, 132)
LONG = "pick_clean_then_place_in_recep_of_another_room"


def with_long_names() -> RunRecord:
    """A record of which every name is longer than usual."""
    record = example()
    evaluations = tuple(_renamed(e) for e in record.evaluations)
    model = dataclasses.replace(record.model, name="/data/checkpoints/some-organisation/" + LONG)
    return dataclasses.replace(record, evaluations=evaluations, model=model)


def _renamed(evaluation: Evaluation) -> Evaluation:
    names = {"look": LONG, "open": "open"}
    outcomes = tuple(
        dataclasses.replace(o, task_type=names[o.task_type]) for o in evaluation.outcomes
    )
    return dataclasses.replace(evaluation, outcomes=outcomes, by_type=pool_by_type(outcomes))


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_table_of_a_run_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/data/users/somebody/experiments/runs/{LONG}-gigpo-default-seed0-cd372cf0/record.json"
    lines = lines_at(
        columns, lambda: run_table.print_record(with_long_names(), where=path), monkeypatch
    )
    assert max(map(cell_len, lines)) <= columns
    text = "".join(line.strip() for line in lines)
    # The names are broken, not cut.
    assert path in text
    assert "+0.50" in text
    assert ("not shown: " in text) == (columns < 100)


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_leaderboard_fits_the_terminal(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for selection, seed in (("none", 0), ("full", 0), ("1", 0), ("2", 0)):
        final = None if selection == "none" else [1, 1, 1, 0] * 8
        record = leaderboard_example.run(selection, seed, base=[0, 0, 1, 0] * 8, final=final)
        named = dataclasses.replace(record, model=with_long_names().model)
        leaderboard_example.write(tmp_path / LONG, named)
    (tmp_path / LONG / "broken").mkdir()
    (tmp_path / LONG / "broken" / "record.json").write_text("{}")
    lines = lines_at(columns, lambda: cli.main(["leaderboard", str(tmp_path)]), monkeypatch)
    assert max(map(cell_len, lines)) <= columns
    assert any(line.startswith("1 ") and "0.75 (24/32) 0.58-0.87" in line for line in lines)
    assert any(line.startswith("not shown: memory") for line in lines) == (columns < 132)


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_states_of_a_sweep_fit_the_terminal(columns: int, tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path, layers=(0, 3), seeds=tuple(range(12)))
    small_sweep.begin(plan.trained[0], iterations=1)
    lines = plan_table.state_table(plan, [run.state() for run in plan.runs], width=columns)
    assert max(map(cell_len, lines)) <= columns
    # Every seed is there, in tables below each other.
    assert [word for word in " ".join(lines).split() if word.isdecimal()].count("11") == 1
    assert "unfinished 1/2" in "\n".join(lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_lists_and_reports_fit_the_terminal(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / LONG / LONG / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"schema": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    for argv in (
        ["envs"],
        ["leaderboard", "--check", str(record)],
        ["play", "keydoor"],
    ):
        lines = lines_at(columns, lambda argv=argv: cli.main(argv), monkeypatch)
        assert max(map(cell_len, lines)) <= columns, argv


@pytest.mark.parametrize("columns", WIDTHS)
def test_help_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ([], *([c.NAME] for c in cli.COMMANDS)):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= columns, command


def test_what_is_no_terminal_has_the_same_bytes_whatever_columns_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: list[str] = []
    for columns in ("40", "80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            run_table.print_record(with_long_names(), where="runs/x")
        texts.append(out.getvalue())
    assert texts[0] == texts[1] == texts[2]
    assert "0.75 (3/4) 0.30-0.95" in texts[0]
    assert "not shown" not in texts[0]


def test_the_least_important_column_goes_first() -> None:
    table = Table(
        {"name": Column("name", ["a"]), "x": Column("x", ["1" * 30]), "y": Column("y", ["2" * 30])},
        steps=[Step("y", {"y": None}), Step("x", {"x": None})],
    )
    # 4 + 2 + 30 + 2 + 30 = 68 columns; 36 without y.
    assert len(fitting.table_lines(table, 68)) == 2
    assert fitting.table_lines(table, 67) == [
        "name  x",
        f"a     {'1' * 30}",
        "not shown: y (a wider terminal has all)",
    ]


def test_wide_characters_count_twice() -> None:
    assert fitting.wrapped("日本語日本語", 8) == ["日本語", "  日本語"]
