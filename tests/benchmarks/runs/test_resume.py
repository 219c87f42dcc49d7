"""A run that is killed, at any moment, ends in the record of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks.records import episodes, run_record
from tests.support import saved_model

pytestmark = pytest.mark.timeout(600)


def start(model: Path, out: Path, *more: str) -> "subprocess.Popen[bytes]":
    """Start a run of six iterations as a user would."""
    argv = [sys.executable, "-m", "layerbench", "run", "keydoor", "--preset", "quick"]
    argv += ["--layer", "1", "--model", str(model), "--out", str(out)]
    argv += ["train.iterations=6", "train.checkpoint_every=2", "eval.every=3"]
    argv += ["env.num_keys=1", "env.workers=1", "eval.tasks=6", *more]
    return subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_when_there(run: "subprocess.Popen[bytes]", path: Path) -> None:
    """Kill a run as soon as it has written a file, without any warning."""
    while not path.exists():
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


def comparable(folder: Path) -> dict[str, Any]:
    """The record, without the commit, which may change between two runs of this test."""
    data: Any = run_record.read(folder / "record.json").comparable()
    return {name: value for name, value in data.items() if name != "code"}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k not in ("play_s", "update_s")} for row in rows]


@pytest.mark.slow
def test_a_killed_run_ends_in_the_record_of_an_uninterrupted_one(tmp_path: Path) -> None:
    model = saved_model.save(tmp_path / "model")
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    uninterrupted = start(model, straight)

    # In the base evaluation, in training between two checkpoints, and in the final evaluation.
    kill_when_there(start(model, killed), killed / "state.json")
    kill_when_there(start(model, killed), killed / "evaluations" / "iteration-3-test-t1.0.json")
    kill_when_there(start(model, killed), killed / "checkpoints" / "iteration-000006")
    assert not (killed / "record.json").exists()
    assert start(model, killed).wait() == 0

    assert uninterrupted.wait() == 0
    assert comparable(killed) == comparable(straight)
    assert metrics(killed) == metrics(straight)
    table = "episodes.parquet"
    assert episodes.read(killed / table) == episodes.read(straight / table)
