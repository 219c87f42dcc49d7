"""A run on WebShop with its defaults: embedded model, synthetic catalogue, one layer."""

from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record

pytestmark = pytest.mark.timeout(300)


def test_one_layer_of_the_embedded_model_is_trained_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = ["run", "webshop", "--layer", "15", "--preset", "quick", "--out", str(out)]
    # Some of the 16 purchases are perfect, and some others have a score between 0 and 1.
    assert cli.main([*argv, "env.reward=score", "eval.tasks=16", "env.slots=16"]) == 0
    record = run_record.read(out / "record.json")
    assert (record.env.source, record.model.name) == ("webshop-synth", "embedded")
    assert record.movement.per_layer["15"] > 0
    base = record.evaluation(phase="base", split="test")
    assert base.invalid_share == 0
    assert base.count.successes > 0
    assert base.mean_return is not None
    assert base.count.rate < base.mean_return < 1
    printed = capsys.readouterr().out
    assert "games webshop-synth  model embedded" in printed
    assert "mean return" in printed
    assert cli.main(["leaderboard", "--check", str(out)]) == 0
    assert "0 wrong" in capsys.readouterr().out
