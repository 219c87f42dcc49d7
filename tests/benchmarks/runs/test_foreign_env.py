"""Runs in somebody else's environment: what it does wrong ends in one line, or in its episode."""

import sys
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import episodes, run_record
from layerbench.benchmarks.verify.report import check
from tests.support import saved_model

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SUPPORT = str(Path(__file__).parents[2] / "support")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be imported here, and where it is played."""
    monkeypatch.setattr(sys, "path", [SUPPORT, *sys.path])


def break_it(patch: pytest.MonkeyPatch, fault: str) -> None:
    patch.setenv("LAYERBENCH_TEST_FAULT", fault)


def start(model: Path, out: Path, *more: str) -> int:
    argv = ["foreign_envs:SPEC", "--preset", "quick", "--model", str(model), "--out", str(out)]
    argv += ["env.num_keys=1", "eval.tasks=6", "env.max_turns=6"]
    command, *options = more or ("run", "--layer", "1", "train.iterations=1")
    return cli.main([command, *argv, *options])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_a_sound_one_plays_in_a_worker_under_any_preset(model: Path, tmp_path: Path) -> None:
    assert start(model, tmp_path / "run") == 0
    report = check(tmp_path / "run")
    assert "replay" in report.passed
    assert report.wrong == ()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("list raises", "foreign cannot give its tasks: KeyError: 'split\\nmissing'"),
        ("make exits", "foreign, asked for its environment, ended its process with 3"),
        ("reset is random", "played the same again, observation.text is"),
        ("nan", "the reward is nan, not a finite number"),
    ],
)
def test_what_is_found_before_the_run_leaves_nothing(
    fault: str,
    says: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    break_it(monkeypatch, fault)
    assert start(model, tmp_path / "run") == 2
    line = last_line(capsys)
    assert line.startswith("layerbench: ")
    assert says in line
    assert not (tmp_path / "run").exists()


def test_a_contract_that_is_broken_later_ends_the_run_in_one_line(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    break_it(monkeypatch, "nan at turn 5")
    assert start(model, tmp_path / "run") == 1
    line = last_line(capsys)
    assert line.startswith("layerbench: the run failed: ContractError: foreign, task ")
    assert ", turn 5 (" in line
    assert "the reward is nan, not a finite number" in line
    assert "Traceback" in (tmp_path / "run" / "error.log").read_text()


@pytest.mark.parametrize(
    ("fault", "more", "says"),
    [
        ("step exits at turn 2", ["run", "--layer", "1"], "exited with 3, each of the times"),
        ("step hangs at turn 2", ["eval", "env.timeout_s=2"], "did not answer within 2 s, each"),
    ],
)
def test_an_episode_that_ends_its_process_every_time_is_lost_alone(
    fault: str,
    more: list[str],
    says: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_it(monkeypatch, fault)
    out = tmp_path / "run"
    assert start(model, out, *more) == 0
    count = run_record.read(out / "record.json").evaluation(phase="base", split="test").count
    rows = {
        (row["episode"], row["task"], row["error"])
        for row in episodes.read(out / "episodes.parquet")
    }
    bad = {number for number, task, _ in rows if sum(map(ord, task)) % 4 == 0}
    assert {number for number, _, error in rows if says in error} == bad
    assert {number for number, _, error in rows if error} == bad
    assert count.failed == len(bad) > 0
    assert count.failed < count.planned


def test_play_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it(monkeypatch, "reset exits")
    assert cli.main(["play", "foreign_envs:SPEC", "env.num_keys=1"]) == 1
    assert last_line(capsys) == (
        "layerbench: foreign failed: env worker 0 exited with 3, each of the times it was played"
    )
