"""Whole sweeps, killed and continued, on each launcher."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks.records import episodes, run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from tests.support import saved_model

# Two minutes each on two idle cores; the limit is for busy machines.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra layerbench[ray]"
)
needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None,
    reason="needs the extra layerbench[submitit]",
)

SETTINGS = ("env.num_keys=1", "eval.tasks=4", "env.max_turns=5", "train.iterations=3")

# Without git, an edit or a commit during the test does not change the recorded code, by which
# base evaluations are reused.
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "GIT_DIR": os.devnull}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def straight(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of an uninterrupted sweep with two processes."""
    root = tmp_path_factory.mktemp("straight")
    process = start(model, root, "--jobs", "2")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return root


def start(model: Path, root: Path, *more: str, layers: str = "all") -> "subprocess.Popen[str]":
    """Start a sweep of two layers, full and base for two seeds, in a process group of its own."""
    argv = [sys.executable, "-m", "layerbench", "sweep", "keydoor", "--preset", "quick"]
    argv += ["--model", str(model), "--layers", layers, "--seeds", "2", f"run_root={root}"]
    return subprocess.Popen(
        [*argv, *SETTINGS, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=ENV,
    )


def finish(sweep: "subprocess.Popen[str]") -> str:
    output, _ = sweep.communicate()
    assert sweep.returncode == 0, output
    return output


def kill_half_way(sweep: "subprocess.Popen[str]", root: Path) -> None:
    """Kill all of its processes once three runs are complete and another is being trained."""
    while True:
        if _complete(root) >= 3 and _in_training(root):
            # Stopped first: the run may have ended since the check.
            os.killpg(sweep.pid, signal.SIGSTOP)
            time.sleep(0.1)
            if _in_training(root):
                break
            os.killpg(sweep.pid, signal.SIGCONT)
        if sweep.poll() is not None:
            pytest.fail(f"the sweep ended before it could be killed: {sweep.communicate()[0]}")
        time.sleep(0.01)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()


def _complete(root: Path) -> int:
    return len(list(root.glob("*/record.json")))


def _in_training(root: Path) -> bool:
    return any(
        not path.parent.parent.joinpath("record.json").exists()
        for path in root.glob("*/checkpoints/iteration-*")
    )


def comparable(folder: Path) -> dict[str, Any]:
    """The record, without the commit, which may change between two runs of this test."""
    data: Any = run_record.read(folder / "record.json").comparable()
    return {name: value for name, value in data.items() if name != "code"}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k not in ("play_s", "update_s")} for row in rows]


def assert_same(part: Path, whole: Path) -> None:
    """Check that the runs of a sweep have the records, metrics and episodes of those of another."""
    names = sorted(path.parent.name for path in part.glob("*/record.json"))
    assert names
    for name in names:
        assert comparable(part / name) == comparable(whole / name)
        table = "episodes.parquet"
        assert episodes.read(part / name / table) == episodes.read(whole / name / table)
        if "-none-" not in name:
            assert metrics(part / name) == metrics(whole / name)


def test_base_is_scored_once_a_seed_and_reused(straight: Path) -> None:
    logs = {path.parent.name: path.read_text() for path in straight.glob("*/run.log")}
    assert len(logs) == 8
    for name, log in logs.items():
        is_base = "-none-" in name
        assert ("base evaluation taken over" in log) is not is_base
        # Logged where it is played, not where it is reused.
        assert ("base test at T=1: 4 episodes" in log) is is_base


@pytest.mark.parametrize("layers", ["1", "full"])
def test_a_record_of_a_sweep_is_that_of_the_run_alone(
    model: Path, straight: Path, tmp_path: Path, layers: str
) -> None:
    argv = [sys.executable, "-m", "layerbench", "run", "keydoor", "--preset", "quick"]
    argv += ["--model", str(model), "--layers", layers, "--seed", "1", f"run_root={tmp_path}"]
    subprocess.run([*argv, *SETTINGS], check=True, capture_output=True, env=ENV)
    assert_same(tmp_path, straight)


def test_a_killed_sweep_ends_in_the_records_of_an_uninterrupted_one(
    model: Path, straight: Path, tmp_path: Path
) -> None:
    kill_half_way(start(model, tmp_path, "--jobs", "2"), tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/record.json")}
    assert 3 <= len(kept) < 8

    finish(start(model, tmp_path, "--jobs", "2"))
    # Of the logs, since the sweep polls but once a second.
    logs = [path.read_text() for path in tmp_path.glob("*/run.log")]
    assert any("going on after iteration" in log for log in logs)
    assert_same(straight, tmp_path)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    # A third start has nothing left to do.
    assert ": 8 complete" in finish(start(model, tmp_path, "--jobs", "2"))


def test_a_broken_record_is_made_again(model: Path, straight: Path, tmp_path: Path) -> None:
    finish(start(model, tmp_path, layers="full"))
    [broken] = tmp_path.glob("*full*seed1*/record.json")
    broken.write_text(broken.read_text()[:200])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/record.json")}

    finish(start(model, tmp_path, layers="full"))
    assert_same(tmp_path, straight)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/record.json")}
    assert [path for path in after if after[path] != before[path]] == [broken]
    assert "going on after iteration 3" in (broken.parent / "run.log").read_text()


def test_two_sweeps_at_once_share_the_work(model: Path, straight: Path, tmp_path: Path) -> None:
    sweeps = [start(model, tmp_path, "--jobs", "1", layers="0") for _ in range(2)]
    outputs = [finish(sweep) for sweep in sweeps]
    assert_same(tmp_path, straight)
    assert _complete(tmp_path) == 6
    # Each run was executed by one process alone.
    for log in tmp_path.glob("*/run.log"):
        assert log.read_text().count("run folder ") == 1
    # The tables of both are of all six runs.
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]


@needs_ray
def test_a_killed_sweep_on_ray_ends_in_the_same_records(
    model: Path, straight: Path, tmp_path: Path
) -> None:
    command: Sequence[str] = ("--launcher", "ray", "--jobs", "2")
    kill_half_way(start(model, tmp_path, *command), tmp_path)
    assert 3 <= _complete(tmp_path) < 8
    finish(start(model, tmp_path, *command))
    assert_same(straight, tmp_path)


@needs_submitit
def test_a_sweep_on_submitit_leaves_the_same_records(
    model: Path, straight: Path, tmp_path: Path
) -> None:
    finish(start(model, tmp_path, "--launcher", "submitit_local", "--jobs", "2", layers="full"))
    assert _complete(tmp_path) == 4
    assert_same(tmp_path, straight)


def test_a_run_whose_process_is_killed_is_one_failure(model: Path, tmp_path: Path) -> None:
    sweep = start(model, tmp_path, "--jobs", "2", layers="full")
    [full] = _wait_for(lambda: list(tmp_path.glob("*full*seed0*/checkpoints")), sweep)
    _kill_holder(RunFolder(full.parent))
    output, _ = sweep.communicate()
    assert sweep.returncode == 1
    assert "layerbench: full seed 0: the run's process ended by signal 9" in output
    assert _complete(tmp_path) == 3
    assert "signal 9" in (full.parent / "error.log").read_text()

    finish(start(model, tmp_path, "--jobs", "2", layers="full"))
    assert _complete(tmp_path) == 4


def _wait_for(look: Callable[[], list[Path]], sweep: "subprocess.Popen[str]") -> list[Path]:
    while not (paths := look()):
        assert sweep.poll() is None, "the sweep ended too early"
        time.sleep(0.01)
    return paths


def _kill_holder(folder: RunFolder) -> None:
    """Kill the process that holds the folder's lock, which the kernel lists by inode."""
    inode = (folder.path / ".lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            os.kill(int(fields[4]), signal.SIGKILL)
            return
    pytest.fail(f"no process holds {folder.path}")
