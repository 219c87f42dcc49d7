"""The examples run as they are shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_one_layer_is_trained_and_scored_before_and_after() -> None:
    finished = subprocess.run(
        [sys.executable, EXAMPLES / "train_one_layer.py"], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    scores = [re.fullmatch(r"(\w+) +success (\d\.\d\d) \((\d+)/16\)", line) for line in lines]
    # The preset `quick` has 2 iterations of 2 groups of 4 episodes.
    assert lines[1:-1] == ["iteration 0: 8 episodes", "iteration 1: 8 episodes"]
    for when, score in zip(("before", "after"), (scores[0], scores[-1]), strict=True):
        assert score is not None
        assert score[1] == when
        assert float(score[2]) == pytest.approx(int(score[3]) / 16, abs=0.006)
