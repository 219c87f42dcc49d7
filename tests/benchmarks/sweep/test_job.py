import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from layerbench.benchmarks.config import compose, serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.run_folder import Start
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.sweep import job
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.benchmarks.sweep.plan import PlannedRun
from tests.support import small_sweep

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedRun:
    # The part of hydra's configuration that a job reads.
    hydra_config = OmegaConf.create({"runtime": {"cwd": str(tmp_path)}})
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra_config)
    return small_sweep.make(tmp_path).trained[0]


def execute(run: PlannedRun) -> Outcome:
    return job.execute(composed(run.config))


def composed(config: RunConfig) -> object:
    """Compose a job's config, as hydra does."""
    [override] = compose.to_hydra(config)
    return OmegaConf.from_dotlist([override])


def replace_child(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Replace the program of the run's process by a script."""
    popen = subprocess.Popen

    def start(_: list[str], **options: object) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-c", f"import sys; sys.stdin.readline(); {script}"]
        return cast("subprocess.Popen[str]", popen(argv, **options))  # pyright: ignore

    monkeypatch.setattr(subprocess, "Popen", start)


def test_a_complete_run_is_not_run_again(run: PlannedRun) -> None:
    small_sweep.finish(run)
    assert execute(run) == Outcome(Status.DONE, "")


def test_a_run_in_another_process_is_held(run: PlannedRun) -> None:
    with run.folder.open(run.config, Start.CONTINUE):
        assert execute(run) == Outcome(Status.HELD, "")


def test_the_outcome_is_that_of_the_child(run: PlannedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_child(monkeypatch, 'sys.stdout.write(\'["failed", "no games"]\')')
    assert execute(run) == Outcome(Status.FAILED, "no games")
    assert run.folder.error_log.read_text() == "no games\n"


def test_a_child_that_dies_is_a_failure_with_the_last_line_of_stderr(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import os; os.write(2, b'warning\\nlast words\\n'); os.kill(os.getpid(), 9)"
    replace_child(monkeypatch, script)
    message = "the run's process ended by signal 9: last words"
    assert execute(run) == Outcome(Status.FAILED, message)
    assert run.folder.error_log.read_text() == f"{message}\n"


def test_a_folder_of_something_else_is_a_failure(run: PlannedRun) -> None:
    run.folder.path.mkdir()
    (run.folder.path / "thesis.tex").write_text("precious")
    outcome = execute(run)
    assert outcome.status is Status.FAILED
    assert "holds no run" in outcome.message


@pytest.mark.slow
def test_settings_that_no_run_can_have_are_a_failure(run: PlannedRun, tmp_path: Path) -> None:
    typed = [f"run_root={tmp_path}", "env.num_keys=1", "eval.tasks=99"]
    config = resolve.load("keydoor", typed, preset="quick")
    outcome = job.execute(composed(config))
    assert outcome.status is Status.FAILED
    assert "has 16 rooms" in outcome.message


def test_the_child_ends_with_its_parent(run: PlannedRun) -> None:
    settings = serialize.pack(run.config)
    # A parent that dies as soon as it has started the run.
    parent = (
        "import subprocess, sys, os\n"
        "child = subprocess.Popen([sys.executable, '-P', '-m', sys.argv[1]],"
        " stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "child.stdin.write(sys.argv[2].encode() + b'\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, job.__name__, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while _alive(child):
        assert time.monotonic() < deadline, "the run outlived its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead process stays as a zombie where init does not reap orphans, as in some containers.
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
