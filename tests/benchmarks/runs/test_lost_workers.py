"""A run whose worker processes are lost, at any moment, ends in the record of one undisturbed."""

import dataclasses
import json
import os
import random
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import episodes, run_record
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, StepResult, Task
from tests.support import saved_model

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)


def command(model: Path, out: Path, *more: str) -> list[str]:
    argv = ["run", "keydoor", "--preset", "quick", "--layer", "1", "--model", str(model)]
    argv += ["--out", str(out), "env.num_keys=2", "env.max_turns=9", "eval.tasks=10"]
    return [*argv, "env.workers=2", *more]


def disturb(patch: pytest.MonkeyPatch, how: signal.Signals, *, calls: Sequence[int]) -> None:
    """Send a signal to a worker just before these calls of ``step``, and some of ``prepare``."""
    rng = random.Random(0)
    step, prepare = EnvPool.step, EnvPool.prepare
    count = 0

    def disturbed_step(
        self: EnvPool, actions: Mapping[int, str]
    ) -> dict[int, StepResult | EpisodeFailure]:
        nonlocal count
        # The check before a run plays in this process, without workers.
        count += bool(self.worker_pids)
        if self.worker_pids and count in calls:
            os.kill(rng.choice(self.worker_pids), how)
        return step(self, actions)

    def disturbed_prepare(self: EnvPool, tasks: Sequence[Task]) -> None:
        if how is signal.SIGKILL and self.worker_pids:
            os.kill(self.worker_pids[0], how)
        prepare(self, tasks)

    patch.setattr(EnvPool, "step", disturbed_step)
    patch.setattr(EnvPool, "prepare", disturbed_prepare)


def comparable(folder: Path) -> dict[str, Any]:
    data: Any = run_record.read(folder / "record.json").comparable()
    return {name: value for name, value in data.items() if name != "code"}


def metrics(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    unlike = ("play_s", "update_s", "replayed")
    return [{k: v for k, v in row.items() if k not in unlike} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and the folder of its run."""
    root = tmp_path_factory.mktemp("undisturbed")
    model = saved_model.save(root / "model")
    assert cli.main(command(model, root / "run")) == 0
    assert "replayed" not in (root / "run" / "record.json").read_text()
    assert "replayed" not in (root / "run" / "metrics.jsonl").read_text()
    return model, root / "run"


@pytest.mark.parametrize(
    ("how", "calls", "more"),
    [
        (signal.SIGKILL, range(2, 1000, 5), []),
        (signal.SIGSTOP, [3, 53], ["env.timeout_s=2"]),
    ],
)
def test_lost_workers_leave_the_record_as_it_is(
    undisturbed: tuple[Path, Path],
    tmp_path: Path,
    how: signal.Signals,
    calls: Sequence[int],
    more: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, straight = undisturbed
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        disturb(patch, how, calls=calls)
        assert cli.main(command(model, out, *more)) == 0
    there, here = comparable(straight), comparable(out)
    for data in (there, here):
        del data["settings"]["env"]["timeout_s"]
    assert here == there
    assert metrics(out) == metrics(straight)
    table = "episodes.parquet"
    assert episodes.read(out / table) == episodes.read(straight / table)
    record = run_record.read(out / "record.json")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    in_training = record.training.replayed or 0
    assert in_training == sum(line.get("replayed", 0) for line in lines) > 0
    replayed = record.evaluation(phase="base", split="test").replayed or 0
    assert 0 < replayed <= 10
    told = f"base test at T=1: {replayed} episodes played again, whose env worker was lost"
    assert told in capsys.readouterr().err


def test_replays_are_counted_within_the_episodes_there_were(undisturbed: tuple[Path, Path]) -> None:
    record = run_record.read(undisturbed[1] / "record.json")
    for part in (record.evaluations[0], record.training):
        for wrong in (0, -1, 99999):
            with pytest.raises(ValueError, match=rf"{wrong} of .* cannot have been played again"):
                dataclasses.replace(part, replayed=wrong)
