"""Runs on published games that were moved or edited: records compare by what was played."""

import json
import shutil
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import build
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.verify.report import check
from tests.support.official_games import game_files, write_official_games

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("own_cache")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official_games(tmp_path_factory.mktemp("official"))


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "copy"))


def play(folder: Path, out: Path, *more: str) -> int:
    return cli.main(
        [
            *("eval", "alfworld", "--preset", "quick", "--out", str(out)),
            *(f"env.data_dir={folder}", "env.eval_splits=valid_seen", "env.max_turns=2"),
            *("eval.tasks=2", "env.workers=0", *more),
        ]
    )


def edit(folder: Path, old: str = "Your task is to:", new: str = "Your task is  to:") -> None:
    for path in game_files(folder):
        data = json.loads(path.read_text())
        data["grammar"] = data["grammar"].replace(old, new)
        path.write_text(json.dumps(data))


def record(out: Path) -> RunRecord:
    return run_record.read(out / "record.json")


def test_the_same_games_in_two_folders_are_one_table(
    data: Path, copy: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    assert play(data, runs / "a") == 0
    assert play(copy, runs / "b", "seed=1") == 0
    edited = Path(shutil.copytree(data, tmp_path / "edited"))
    edit(edited)
    assert play(edited, runs / "c", "seed=2") == 0
    tables = build.gather([runs]).boards
    assert sorted([row.seeds for row in table.rows] for table in tables) == [[(0, 1)], [(2,)]]
    assert not any("data_dir" in setting for table in tables for setting in table.differs)


def test_a_finished_run_is_found_again_where_its_games_lie_now(
    data: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(data, tmp_path / "run") == 0
    before = (tmp_path / "run/record.json").read_bytes()
    assert play(copy, tmp_path / "run") == 0
    assert (tmp_path / "run/record.json").read_bytes() == before
    # Without its games the record can still be shown, but not be told to be of another folder's.
    shutil.rmtree(copy)
    capsys.readouterr()
    assert play(copy, tmp_path / "run") == 2
    assert "env.options.data_dir" in capsys.readouterr().err
    data.rename(data.with_name("away"))
    try:
        assert play(data, tmp_path / "run") == 0
    finally:
        data.with_name("away").rename(data)


def test_an_old_record_does_not_come_back_for_edited_games(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert play(copy, out) == 0
    old = record(out)
    edit(copy)
    capsys.readouterr()
    assert play(copy, out) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "holds a run on other tasks" in line
    assert old.env.source in line
    assert play(copy, out, "--fresh") == 0
    assert record(out).env.source != old.env.source


def test_an_unfinished_run_does_not_go_on_with_edited_games(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert play(copy, out) == 0
    (out / "record.json").unlink()
    edit(copy)
    assert play(copy, out) == 2
    assert "holds a run on other tasks" in capsys.readouterr().err
    assert not (out / "record.json").exists()


def test_games_that_change_under_a_run_make_no_record(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerbench.benchmarks.runs.player import Evaluator  # noqa: PLC0415

    evaluate = Evaluator.evaluate

    def edited_meanwhile(self: Evaluator, phase: str) -> None:
        evaluate(self, phase)
        edit(copy)

    monkeypatch.setattr(Evaluator, "evaluate", edited_meanwhile)
    assert play(copy, tmp_path / "run") == 2
    assert "changed while the run was under way" in capsys.readouterr().err
    assert not (tmp_path / "run/record.json").exists()


def test_a_check_says_that_other_games_lie_here(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert play(copy, out) == 0
    assert check(out).wrong == ()
    assert {"identity", "tasks", "replay"} < set(check(out).passed)
    edit(copy)
    report = check(out)
    assert report.wrong == ()
    assert any("have the hash" in line for line in report.unchecked)
    assert {"tasks", "replay"}.isdisjoint(report.passed)
    shutil.rmtree(copy)
    report = check(out)
    assert report.wrong == ()
    assert {"tasks", "replay"}.isdisjoint(report.passed)


def test_a_check_looks_in_the_standard_place(
    data: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert play(copy, out) == 0
    elsewhere = copy.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("ALFWORLD_DATA", str(elsewhere))
    report = check(out)
    assert report.wrong == ()
    assert {"identity", "tasks", "replay"} < set(report.passed)
    assert not any("config.yaml" in line for line in report.unchecked)
    there = record(out).env.splits_sha256 or {}
    edit(elsewhere)
    report = check(out)
    assert report.wrong == ()
    assert {"tasks", "replay"}.isdisjoint(report.passed)
    assert any(
        f"hash {there['valid_seen'][:12]} in the record, " in line and line.endswith("machine")
        for line in report.unchecked
    )
    monkeypatch.delenv("ALFWORLD_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    report = check(out)
    assert report.wrong == ()
    assert any("no ALFWorld games in" in line and "copy" in line for line in report.unchecked)


def test_a_source_that_its_hashes_do_not_make_is_wrong(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert play(copy, out) == 0
    data = json.loads((out / "record.json").read_text())
    data["env"]["source"] = f"alfworld-{'0' * 64}"
    (out / "record.json").write_text(json.dumps(data))
    assert any("env.splits_sha256 makes it another" in line for line in check(out).wrong)


def test_what_was_left_out_is_said_once(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = game_files(copy)[0]
    path.write_text(json.dumps({**json.loads(path.read_text()), "solvable": False}))
    assert play(copy, tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert said.count("valid_seen: 2 games; left out, as by ALFWorld's own collector") == 1
