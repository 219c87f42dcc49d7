import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.sweep import runner
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.benchmarks.sweep.plan import PlannedRun, SweepPlan
from layerbench.benchmarks.sweep.runner import Sweep
from tests.support import small_sweep

DONE = Outcome(Status.DONE, "")


class FakeLauncher:
    """A launcher that handles each run by a function, and records the titles it was given."""

    def __init__(self, execute: Callable[[PlannedRun], Outcome] | None = None) -> None:
        self.waves: list[list[str]] = []
        self._execute = execute or self.finish

    def __call__(self, configs: Sequence[RunConfig]) -> list[Outcome]:
        runs = [PlannedRun(config, RunFolder(default_path(config))) for config in configs]
        self.waves.append([run.title for run in runs])
        return [self._execute(run) for run in runs]

    @staticmethod
    def finish(run: PlannedRun) -> Outcome:
        small_sweep.finish(run)
        return DONE


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(runner, "RECORD_TIMEOUT_S", 0.05)


def run_sweep(
    plan: SweepPlan, launcher: FakeLauncher, root: Path, *, batch: int | None = None
) -> tuple[dict[str, str], list[str]]:
    lines: list[str] = []
    sweep = Sweep(plan, launcher, batch, lines.append, root / "launcher-error.log")
    sweep.run()
    return sweep.failed, lines


def test_base_of_all_seeds_comes_before_the_runs_that_train(tmp_path: Path) -> None:
    plan, launcher = small_sweep.make(tmp_path, seeds=(0, 1)), FakeLauncher()
    assert run_sweep(plan, launcher, tmp_path) == ({}, [])
    assert launcher.waves == [
        ["base seed 0", "base seed 1"],
        ["full seed 0", "layer 0 seed 0", "full seed 1", "layer 0 seed 1"],
    ]


def test_complete_runs_are_kept(tmp_path: Path) -> None:
    plan, launcher = small_sweep.make(tmp_path), FakeLauncher()
    small_sweep.finish(plan.base[0])
    small_sweep.finish(plan.trained[1])
    small_sweep.begin(plan.trained[0])
    run_sweep(plan, launcher, tmp_path)
    assert launcher.waves == [["full seed 0"]]
    run_sweep(plan, launcher, tmp_path)
    assert launcher.waves == [["full seed 0"]]


def test_a_failed_run_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    def execute(run: PlannedRun) -> Outcome:
        if run.title in ("base seed 0", "full seed 1"):
            return Outcome(Status.FAILED, "out of memory")
        return FakeLauncher.finish(run)

    plan, launcher = small_sweep.make(tmp_path, seeds=(0, 1)), FakeLauncher(execute)
    failed, _ = run_sweep(plan, launcher, tmp_path)
    assert failed == {"base seed 0": "out of memory", "full seed 1": "out of memory"}
    assert [len(wave) for wave in launcher.waves] == [2, 4]


def test_a_run_held_by_another_process_is_waited_for(tmp_path: Path) -> None:
    plan, launcher = small_sweep.make(tmp_path), FakeLauncher()
    full = plan.trained[0]
    seen = threading.Event()

    def other_process() -> None:
        with full.folder.open(full.config, Start.CONTINUE):
            held.set()
            seen.wait(30)
            full.folder.finish(small_sweep.record_of(full))

    held = threading.Event()
    other = threading.Thread(target=other_process)
    other.start()
    held.wait(30)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        seen.set()

    sweep = Sweep(plan, launcher, None, say, tmp_path / "launcher-error.log")
    sweep.run()
    other.join()
    assert sweep.failed == {}
    assert launcher.waves == [["base seed 0"], ["layer 0 seed 0"]]
    assert lines == ["waiting for what another process is running: full seed 0"]


def test_a_run_that_another_process_gave_up_is_run_here(tmp_path: Path) -> None:
    tries: list[str] = []

    def execute(run: PlannedRun) -> Outcome:
        tries.append(run.title)
        # Held when the job looked, and free again when the sweep looks.
        return Outcome(Status.HELD, "") if len(tries) == 1 else FakeLauncher.finish(run)

    plan, launcher = small_sweep.make(tmp_path), FakeLauncher(execute)
    assert run_sweep(plan, launcher, tmp_path)[0] == {}
    assert tries == ["base seed 0", "base seed 0", "full seed 0", "layer 0 seed 0"]


def test_a_failing_launcher_loses_incomplete_runs_alone(tmp_path: Path) -> None:
    def execute(run: PlannedRun) -> Outcome:
        if run.title == "layer 0 seed 0":
            raise RuntimeError("a worker\nwas killed")
        return FakeLauncher.finish(run)

    plan, launcher = small_sweep.make(tmp_path), FakeLauncher(execute)
    failed, _ = run_sweep(plan, launcher, tmp_path)
    log = tmp_path / "launcher-error.log"
    assert failed == {"layer 0 seed 0": f"the launcher failed: RuntimeError: a worker (see {log})"}
    assert "Traceback" in log.read_text()


def test_a_record_that_does_not_appear_is_a_failure(tmp_path: Path) -> None:
    plan, launcher = small_sweep.make(tmp_path), FakeLauncher(lambda _: DONE)
    failed, _ = run_sweep(plan, launcher, tmp_path)
    assert set(failed) == {run.title for run in plan.runs}
    assert "run_root must be a folder that all workers share" in failed["full seed 0"]


def test_no_more_runs_than_the_batch_are_handed_over_at_once(tmp_path: Path) -> None:
    plan, launcher = small_sweep.make(tmp_path, layers=(0, 1)), FakeLauncher()
    run_sweep(plan, launcher, tmp_path, batch=2)
    assert launcher.waves == [
        ["base seed 0"],
        ["full seed 0", "layer 0 seed 0"],
        ["layer 1 seed 0"],
    ]
