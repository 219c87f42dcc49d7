import dataclasses
from pathlib import Path

import pytest

from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.benchmarks import cli
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool, pool_by_type
from layerbench.envs.types import Observation
from tests.benchmarks.html.test_episodes_page import written
from tests.benchmarks.html.test_turn_scores import ALGORITHM
from tests.support.leaderboard_example import first, run

# Right is 4 on every task of 4.
ANSWERS = {"0": ["4", "4", "7", "1"], "1": ["4", "5", "4", "2"], "3": ["6", "4", "4", "3"]}


def turn(text: str) -> Turn:
    said = f"so \\boxed{{{text}}}"
    return Turn(
        Observation("2 + 2", ()), Response((1,), (2,), (0.0,), ((2,),), said), said, True, 0.0
    )


def episode(task: int, text: str, *, turns: int = 1) -> Trajectory:
    return Trajectory(
        task_id=f"seen-{task}",
        task_type="",
        seed=0,
        context=ContextMode.TRANSCRIPT,
        turns=(turn(text),) * turns,
        stop=StopReason.TERMINATED,
        success=text == "4",
        error="",
    )


def record(name: str, samples: int = 1) -> RunRecord:
    made = run(name, 0, base=first(1, of=4), final=first(2, of=4))
    outcomes = tuple(TaskOutcome(f"seen-{task}", "", Count(samples, 0, 0)) for task in range(4))
    final = dataclasses.replace(
        made.evaluations[1],
        outcomes=outcomes,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
    )
    return dataclasses.replace(
        made,
        env=dataclasses.replace(made.env, name="math"),
        evaluations=(made.evaluations[0], final),
        settings={**made.settings, "algorithm": ALGORITHM},
    )


def voter(root: Path, name: str, *, turns: int = 1) -> str:
    played = [episode(n, text, turns=turns) for n, text in enumerate(ANSWERS[name])]
    written(root / name, record(name), ("final", played))
    return str(root / name)


def test_the_majority_of_three_and_their_overlap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [voter(tmp_path, name) for name in ANSWERS]
    played = [episode(n, text) for n in range(4) for text in ("4", "4", "9")]
    control = tmp_path / "control"
    written(control, record("2", samples=3), ("final", played))
    capsys.readouterr()
    assert cli.main(["vote", *runs, "--control", str(control)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seen: 3 voters, 4 tasks"
    # Each solves two of four; together three, and the last falls apart.
    assert any(line.startswith("majority 0.75: +0.25") for line in lines)
    assert any("self-consistency of 3 samples of" in line and ": 1.00;" in line for line in lines)
    assert "solved by any voter 3/4, by all 0/4" in lines
    # Any two solve one in common of three: Jaccard 1/3; agreed on 2 of 4, by chance 0.5: kappa 0.
    assert lines[-3].split() == ["1", "0.33", "0.33"]
    assert lines[-1].split() == ["3", "0.00", "0.00"]


def test_without_samples_there_is_no_control(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [voter(tmp_path, name) for name in ANSWERS]
    capsys.readouterr()
    assert cli.main(["vote", *runs]) == 0
    assert "no control: no run has 3 samples a task" in capsys.readouterr().out


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = voter(tmp_path, "0"), voter(tmp_path, "1", turns=2)

    def refused(*runs: str) -> str:
        capsys.readouterr()
        assert cli.main(["vote", *runs]) == 2
        out, error = capsys.readouterr()
        assert (out, error.count("\n")) == ("", 1)
        return error

    assert "a vote takes at least 2 runs, found 1" in refused(one)
    assert "has several turns: a vote takes single answers" in refused(one, other)
    (Path(other) / "episodes.parquet").unlink()
    assert "a vote reads the answers of the episodes" in refused(one, other)
