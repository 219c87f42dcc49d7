"""Runs of several processes, which the first of them starts and ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.errors import RunFailedError
from layerbench.benchmarks.records import episodes, run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.runs import helper_processes, ranks, resolve
from layerbench.rl.distributed import Meeting
from tests.support import saved_model
from tests.support.command_line import typed

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


def command(model: Path, out: Path, *more: str) -> list[str]:
    argv = ["run", "keydoor", "--layer", "1", "--preset", "quick", "--model", str(model)]
    argv += ["--out", str(out), "env.num_keys=1", "env.max_turns=4", "eval.tasks=6"]
    argv += ["train.iterations=3", "train.checkpoint_every=1", "env.workers=0"]
    return list(typed([*argv, "model.processes=2"], more))


def start(argv: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "layerbench", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def helpers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if helper_processes.HELPER in child.cmdline()]


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)


def comparable(folder: Path) -> dict[str, Any]:
    data: Any = run_record.read(folder / "record.json").comparable()
    return {name: value for name, value in data.items() if name != "code"}


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "two"
    assert cli.main(command(model, out)) == 0
    return out


def test_two_processes_make_the_run_of_one_but_for_rounding(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    assert cli.main(command(model, tmp_path / "one", "model.processes=1")) == 0
    one, two = (run_record.read(out / "record.json") for out in (tmp_path / "one", finished))
    assert (one.hardware.processes, two.hardware.processes) == (None, 2)
    assert two.settings["model"]["processes"] == 2
    # One is left out, so that records of before this setting are equal.
    assert "processes" not in one.settings["model"]
    assert two.evaluations[0].outcomes == one.evaluations[0].outcomes
    assert two.training.episodes == one.training.episodes
    assert two.training.decisions == pytest.approx(one.training.decisions, rel=0.1)
    assert two.movement.per_layer == pytest.approx(one.movement.per_layer, rel=0.1)


def test_the_same_command_makes_the_same_record(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    assert cli.main(command(model, tmp_path / "again")) == 0
    assert comparable(tmp_path / "again") == comparable(finished)
    table = "episodes.parquet"
    assert episodes.read(tmp_path / "again" / table) == episodes.read(finished / table)


def test_a_run_whose_helper_is_killed_fails_and_goes_on(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = start(command(model, out))
    wait_for((out / "checkpoints" / "iteration-000001").exists)
    (helper,) = helpers_of(first)
    helper.kill()
    _, error = first.communicate()
    assert first.returncode == 1
    assert "the run failed in another process" in error.splitlines()[-1]
    assert "the same command goes on" in error.splitlines()[-1]
    assert "Traceback" not in error
    assert cli.main(command(model, out)) == 0
    assert comparable(out) == comparable(finished)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_no_helper_outlives_its_run(model: Path, finished: Path, tmp_path: Path, by: int) -> None:
    out = tmp_path / "run"
    first = start(command(model, out))
    wait_for((out / "checkpoints" / "iteration-000001").exists)
    (helper,) = helpers_of(first)
    first.send_signal(by)
    first.communicate()
    assert first.returncode == (130 if by == signal.SIGINT else -signal.SIGKILL)
    helper.wait(timeout=60)
    assert cli.main(command(model, out)) == 0
    assert comparable(out) == comparable(finished)


def test_a_mistake_is_one_line_and_leaves_no_process(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Other tests have left processes that wait for more.
    before = psutil.Process().children()
    assert cli.main(command(model, tmp_path / "run", "--layer", "99")) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("layerbench: layer 99 is not in")
    assert set(psutil.Process().children()) <= set(before)
    assert not (tmp_path / "run").exists()


def test_why_a_helper_failed_is_reported_by_the_first(tmp_path: Path) -> None:
    folder, meeting = RunFolder(tmp_path / "run"), Meeting(tmp_path / "meeting", rank=0, size=2)
    ranks.leave_words(meeting, OSError("No space left on device\nand more"))
    says = "in another process: No space left on device .see .*error.log.: the same command goes on"
    with pytest.raises(RunFailedError, match=says), ranks.losses_reported(folder, meeting):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer")
    # What an environment's own connection says is no loss of a process.
    with pytest.raises(ConnectionResetError), ranks.losses_reported(folder, meeting):
        raise ConnectionResetError("Connection reset by peer")


def test_sweeps_of_runs_of_two_processes_reuse_the_base(model: Path, tmp_path: Path) -> None:
    argv = ["sweep", "keydoor", "--layers", "0,1", "--preset", "quick", "--model", str(model)]
    argv += ["--jobs", "1", "env.num_keys=1", "env.max_turns=4", "eval.tasks=4", "env.workers=0"]
    argv += ["train.iterations=1", "model.processes=2", f"run_root={tmp_path}"]
    assert cli.main(argv) == 0
    found = [run_record.read(path) for path in sorted(tmp_path.glob("*/record.json"))]
    assert len(found) == 4
    assert {record.hardware.processes for record in found} == {2}
    # Reused with its seconds; played again, it would have others.
    assert len({record.evaluations[0].seconds for record in found}) == 1


def test_a_helper_that_does_not_start_is_named(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(helper_processes.sys, "executable", "/bin/true")
    assert cli.main(command(model, tmp_path / "run")) == 1
    assert "model.processes=1 does without" in capsys.readouterr().err


def test_helpers_of_a_run_that_never_comes_end_with_their_parent() -> None:
    text = "from layerbench.benchmarks.runs.helper_processes import start\nprint(start().pid)"
    ended = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
    pid = int(ended.stdout)
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def test_other_devices_and_engines_take_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve.load("alfworld", [], preset="default")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert ranks.size(config) == config.model.processes == 2
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert ranks.size(config) == 1
    config.model.device = "cpu"
    assert ranks.size(config) == 2
    config.model.backend = "vllm"
    assert ranks.size(config) == 1
