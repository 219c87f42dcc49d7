"""``layerbench eval ENV ENV``: one model, one table."""

from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record

QUICK = ["--preset", "quick", "eval.tasks=4", "model.name=embedded-any"]
GUESS = """
import gymnasium as gym

from layerbench import EnvSpec


class Guess(gym.Env):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sought = str(self.np_random.integers(8))
        return f"Guess {self.sought}.", self.info(False)

    def step(self, action):
        won = action == self.sought
        return "Right." if won else "Wrong.", float(won), True, False, self.info(won)

    def info(self, won):
        return {"success": won, "admissible_actions": [str(n) for n in range(8)]}


SPEC = EnvSpec(env=Guess, max_turns=1, splits={"train": 500, "test": 100})
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guess.py").write_text(GUESS)


@pytest.mark.timeout(300)
def test_the_table_has_every_environment_and_their_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", "--model", "embedded-any", "keydoor", "./guess.py", *QUICK[:3]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model embedded-any  preset quick  seed 0"
    assert [line.split()[0] for line in lines[1:4]] == ["environment", "keydoor", "guess"]
    paths = [line.removeprefix("record ") for line in lines if line.startswith("record ")]
    records = [run_record.read(tmp_path / path) for path in paths]
    assert [record.env.name for record in records] == ["keydoor", "guess"]
    rates = [record.evaluations[0].count.rate for record in records]
    chosen = [
        record.evaluation(
            phase="base", split="test", temperature=record.best_temperatures["base"]
        ).count.rate
        for record in records
    ]
    means = [f"{sum(values) / 2:.2f}" for values in (rates, chosen)]
    assert lines[4].split() == ["mean", "of", "2", *means]

    # Finished ones are read.
    assert cli.main(["eval", "./guess.py", "keydoor", *QUICK]) == 0
    again = capsys.readouterr()
    assert "base test" not in again.err
    assert again.out.splitlines()[4] == lines[4]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["keydoor", "nowhere"], "no environment named 'nowhere'"),
        (["keydoor", "alfworld", "--out", "x"], "--out is of one environment, and 2 are named"),
        (["alfworld", "keydoor", "env.difficulty=easy"], "keydoor: no setting named 'env.diff"),
    ],
)
def test_a_mistake_in_one_is_said_before_any_is_scored(
    typed: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", *typed, *QUICK]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert not (tmp_path / "runs").exists()
