import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.run_folder import RunFolder, Start, default_path
from layerbench.benchmarks.sweep import runner
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.benchmarks.sweep.plan import PlannedRun, SweepPlan
from layerbench.benchmarks.sweep.runner import Sweep
from tests.support import small_sweep

DONE = Outcome(Status.DONE, "")


class Worker:
    """Carries out runs at once; what it does with each is a function of its title."""

    def __init__(self, carry: Callable[[PlannedRun], Outcome] | None = None) -> None:
        self.waves: list[list[str]] = []
        self._carry = carry or self.finish

    def __call__(self, configs: Sequence[RunConfig]) -> list[Outcome]:
        runs = [PlannedRun(config, RunFolder(default_path(config))) for config in configs]
        self.waves.append([run.title for run in runs])
        return [self._carry(run) for run in runs]

    @staticmethod
    def finish(run: PlannedRun) -> Outcome:
        small_sweep.finish(run)
        return DONE


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(runner, "APPEAR_S", 0.05)


def run_sweep(
    plan: SweepPlan, worker: Worker, root: Path, *, batch: int | None = None
) -> tuple[dict[str, str], list[str]]:
    said: list[str] = []
    sweep = Sweep(plan, worker, batch, said.append, root / "launcher-error.log")
    sweep.run()
    return sweep.failed, said


def test_base_of_all_seeds_comes_before_what_is_trained(tmp_path: Path) -> None:
    plan, worker = small_sweep.make(tmp_path, seeds=(0, 1)), Worker()
    assert run_sweep(plan, worker, tmp_path) == ({}, [])
    assert worker.waves == [
        ["base seed 0", "base seed 1"],
        ["full seed 0", "layer 0 seed 0", "full seed 1", "layer 0 seed 1"],
    ]


def test_complete_runs_are_kept(tmp_path: Path) -> None:
    plan, worker = small_sweep.make(tmp_path), Worker()
    small_sweep.finish(plan.base[0])
    small_sweep.finish(plan.trained[1])
    small_sweep.begin(plan.trained[0])
    run_sweep(plan, worker, tmp_path)
    assert worker.waves == [["full seed 0"]]
    run_sweep(plan, worker, tmp_path)
    assert worker.waves == [["full seed 0"]]


def test_a_failed_run_is_noted_and_holds_up_no_other(tmp_path: Path) -> None:
    def carry(run: PlannedRun) -> Outcome:
        if run.title in ("base seed 0", "full seed 1"):
            return Outcome(Status.FAILED, "out of memory")
        return Worker.finish(run)

    plan, worker = small_sweep.make(tmp_path, seeds=(0, 1)), Worker(carry)
    failed, _ = run_sweep(plan, worker, tmp_path)
    assert failed == {"base seed 0": "out of memory", "full seed 1": "out of memory"}
    assert [len(wave) for wave in worker.waves] == [2, 4]


def test_a_run_held_by_another_process_is_waited_for(tmp_path: Path) -> None:
    plan, worker = small_sweep.make(tmp_path), Worker()
    full = plan.trained[0]
    seen = threading.Event()

    def elsewhere() -> None:
        with full.folder.open(full.config, Start.CONTINUE):
            held.set()
            seen.wait(30)
            full.folder.finish(small_sweep.record_of(full))

    held = threading.Event()
    other = threading.Thread(target=elsewhere)
    other.start()
    held.wait(30)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        seen.set()

    sweep = Sweep(plan, worker, None, say, tmp_path / "launcher-error.log")
    sweep.run()
    other.join()
    assert sweep.failed == {}
    assert worker.waves == [["base seed 0"], ["layer 0 seed 0"]]
    assert said == ["waiting for what another process is running: full seed 0"]


def test_a_run_that_its_other_process_gave_up_is_run_here(tmp_path: Path) -> None:
    tries: list[str] = []

    def carry(run: PlannedRun) -> Outcome:
        tries.append(run.title)
        # Held when the job looked, free again when the sweep does.
        return Outcome(Status.HELD, "") if len(tries) == 1 else Worker.finish(run)

    plan, worker = small_sweep.make(tmp_path), Worker(carry)
    assert run_sweep(plan, worker, tmp_path)[0] == {}
    assert tries == ["base seed 0", "base seed 0", "full seed 0", "layer 0 seed 0"]


def test_a_launcher_that_breaks_down_loses_only_what_is_not_complete(tmp_path: Path) -> None:
    def carry(run: PlannedRun) -> Outcome:
        if run.title == "layer 0 seed 0":
            raise RuntimeError("a worker\nwas killed")
        return Worker.finish(run)

    plan, worker = small_sweep.make(tmp_path), Worker(carry)
    failed, _ = run_sweep(plan, worker, tmp_path)
    log = tmp_path / "launcher-error.log"
    assert failed == {"layer 0 seed 0": f"the launcher failed: RuntimeError: a worker (see {log})"}
    assert "Traceback" in log.read_text()


def test_a_record_that_does_not_appear_is_a_failure(tmp_path: Path) -> None:
    plan, worker = small_sweep.make(tmp_path), Worker(lambda _: DONE)
    failed, _ = run_sweep(plan, worker, tmp_path)
    assert set(failed) == {run.title for run in plan.runs}
    assert "run_root must be a folder that all workers share" in failed["full seed 0"]


def test_no_more_runs_than_the_batch_are_handed_over_at_once(tmp_path: Path) -> None:
    plan, worker = small_sweep.make(tmp_path, layers=(0, 1)), Worker()
    run_sweep(plan, worker, tmp_path, batch=2)
    assert worker.waves == [
        ["base seed 0"],
        ["full seed 0", "layer 0 seed 0"],
        ["layer 1 seed 0"],
    ]
