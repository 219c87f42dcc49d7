"""A pool of workers survives errors, deaths, hangs and interrupts of its environments."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, StepResult, Task, TaskStart

SUPPORT = Path(__file__).parents[1] / "support"
MISBEHAVING = "misbehaving_envs:layerbench-test/Misbehaving-v0"
TASK = Task("t")

pytestmark = pytest.mark.usefixtures("misbehaving_is_importable")


@pytest.fixture
def misbehaving_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers search the path of the process that starts them."""
    monkeypatch.setattr(sys, "path", [str(SUPPORT), *sys.path])


def pool_of(
    num_slots: int,
    *,
    num_workers: int = 2,
    options: Mapping[str, Any] | None = None,
    timeout_s: float = 300.0,
) -> EnvPool:
    return EnvPool(
        MISBEHAVING,
        options or {},
        max_turns=5,
        num_slots=num_slots,
        num_workers=num_workers,
        timeout_s=timeout_s,
    )


def texts(outcomes: Mapping[int, TaskStart | StepResult | EpisodeFailure]) -> dict[int, str]:
    return {
        slot: outcome.reason if isinstance(outcome, EpisodeFailure) else outcome.observation.text
        for slot, outcome in outcomes.items()
    }


def failed(outcomes: Mapping[int, TaskStart | StepResult | EpisodeFailure]) -> set[int]:
    return {slot for slot, outcome in outcomes.items() if isinstance(outcome, EpisodeFailure)}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_exception_costs_one_episode(num_workers: int) -> None:
    with pool_of(4, num_workers=num_workers) as pool:
        assert not failed(pool.reset(dict.fromkeys(range(4), TASK)))
        outcomes = pool.step({0: "wait", 1: "wait", 2: "raise", 3: "wait"})
        assert failed(outcomes) == {2}
        reason = texts(outcomes)[2]
        assert "KeyError" in reason
        assert "misbehaving_envs.py" in reason
        assert "\n" not in reason
        # Slot 2 stays lost until it is reset, then it gets a fresh environment.
        assert failed(pool.step(dict.fromkeys(range(4), "wait"))) == {2}
        restarted = texts(pool.reset({2: TASK, 3: TASK}))
        assert restarted[2].startswith("episode 1 ")
        assert restarted[3].startswith("episode 2 ")
        assert not failed(pool.step(dict.fromkeys(range(4), "wait")))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_exception_in_a_reset_costs_one_episode(num_workers: int) -> None:
    with pool_of(2, num_workers=num_workers) as pool:
        bad = Task("bad", options={"then": "raise"})
        assert failed(pool.reset({0: TASK, 1: bad})) == {1}
        assert failed(pool.step({0: "wait", 1: "wait"})) == {1}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_environment_that_cannot_be_made_fails_its_episodes(num_workers: int) -> None:
    with pool_of(1, num_workers=num_workers, options={"broken": True}) as pool:
        (failure,) = pool.reset({0: TASK}).values()
        assert isinstance(failure, EpisodeFailure)
        assert failure.reason.startswith("ValueError: no such environment (misbehaving_envs.py:")


def test_a_slot_keeps_its_environment_and_its_process() -> None:
    with pool_of(3) as pool:
        pids = pool.worker_pids
        assert len(set(pids)) == 2
        pool.reset(dict.fromkeys(range(3), TASK))
        assert texts(pool.reset({0: TASK, 2: TASK})) == {
            0: f"episode 2 in {pids[0]}",
            2: f"episode 2 in {pids[0]}",
        }
        assert texts(pool.step({2: "b", 1: "a"})) == {1: f"a in {pids[1]}", 2: f"b in {pids[0]}"}


def test_a_worker_killed_in_a_step_is_replaced_and_its_episodes_fail() -> None:
    with pool_of(4) as pool:
        before = pool.worker_pids
        pool.reset(dict.fromkeys(range(4), TASK))
        # Slots 1 and 3 live in worker 1.
        outcomes = pool.step({0: "wait", 1: "kill", 2: "wait", 3: "wait"})
        assert failed(outcomes) == {1, 3}
        assert texts(outcomes)[3] == "env worker 1 was killed by SIGKILL"
        assert failed(pool.step(dict.fromkeys(range(4), "wait"))) == {1, 3}
        assert not failed(pool.reset({1: TASK, 3: TASK}))
        assert not failed(pool.step(dict.fromkeys(range(4), "wait")))
        assert pool.worker_pids[0] == before[0]
        assert pool.worker_pids[1] != before[1]


def test_a_worker_killed_between_steps_is_replaced_and_its_episodes_fail() -> None:
    with pool_of(4) as pool:
        pool.reset(dict.fromkeys(range(4), TASK))
        os.kill(pool.worker_pids[0], signal.SIGKILL)
        assert failed(pool.step(dict.fromkeys(range(4), "wait"))) == {0, 2}
        assert not failed(pool.reset({0: TASK, 2: TASK}))
        assert not failed(pool.step(dict.fromkeys(range(4), "wait")))


def test_every_worker_may_die_at_once() -> None:
    with pool_of(4) as pool:
        pool.reset(dict.fromkeys(range(4), TASK))
        assert failed(pool.step(dict.fromkeys(range(4), "kill"))) == {0, 1, 2, 3}
        assert not failed(pool.reset(dict.fromkeys(range(4), TASK)))


def test_a_worker_that_exits_says_so() -> None:
    with pool_of(1, num_workers=1) as pool:
        pool.reset({0: TASK})
        assert texts(pool.step({0: "exit"})) == {0: "env worker 0 exited with 3"}


def test_a_worker_that_hangs_is_replaced() -> None:
    with pool_of(2, timeout_s=8.0) as pool:
        pool.reset({0: TASK, 1: TASK})
        outcomes = pool.step({0: "wait", 1: "hang"})
        assert failed(outcomes) == {1}
        assert texts(outcomes)[1] == "env worker 1 did not answer within 8 s"
        assert not failed(pool.reset({1: TASK}))


def test_an_interrupted_call_leaves_no_answer_for_the_next_one() -> None:
    with pool_of(2) as pool:
        pids = pool.worker_pids
        pool.reset({0: TASK, 1: TASK})
        with pytest.raises(KeyboardInterrupt):
            pool.step({0: "wait", 1: "interrupt parent"})
        outcomes = pool.step({0: "other", 1: "other"})
        assert 1 in failed(outcomes)
        # Slot 0 is lost with its worker, unless that had answered before the interrupt.
        assert 0 in failed(outcomes) or texts(outcomes)[0] == f"other in {pids[0]}"


def test_what_cannot_be_prepared_does_not_stop_the_rest() -> None:
    tasks = [Task(f"{n}", options={"then": then}) for n, then in enumerate(["raise", "wait"] * 20)]
    for num_workers in (0, 2):
        with pool_of(2, num_workers=num_workers) as pool:
            pool.prepare(tasks)
            assert failed(pool.reset({0: tasks[0], 1: tasks[1]})) == {0}


def test_a_worker_that_dies_preparing_is_replaced() -> None:
    with pool_of(2) as pool:
        pool.prepare([Task("bad", options={"then": "kill"})])
        assert not failed(pool.reset({0: TASK, 1: TASK}))


def test_there_are_no_more_workers_than_slots() -> None:
    with pool_of(1, num_workers=3) as pool:
        assert len(pool.worker_pids) == 1


def test_closing_ends_the_workers() -> None:
    pool = pool_of(2)
    pool.close()
    pool.close()
    assert pool.worker_pids == ()


@contextmanager
def trainer(how: str) -> Generator[tuple[subprocess.Popen[str], list[int]]]:
    """Run ``orphan_processes.py`` in a process group of its own, as a terminal does."""
    with subprocess.Popen(
        [sys.executable, str(SUPPORT / "orphan_processes.py"), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        try:
            yield process, workers
        finally:
            for pid in (process.pid, *workers):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["busy", "idle"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how: str, end: signal.Signals) -> None:
    with trainer(how) as (process, workers):
        assert len(workers) == 2
        assert process.stderr is not None
        if how == "busy":
            assert [process.stderr.readline() for _ in workers] == ["hanging\n"] * 2
        os.killpg(process.pid, end)
        # Every worker holds the other end of stderr: this returns when the last one has ended.
        _, errors = process.communicate(timeout=20)
        assert process.returncode == -end
        # Ctrl-C interrupts the parent alone.
        assert errors.count("Traceback") == (1 if end == signal.SIGINT else 0)


def test_no_worker_outlives_a_parent_that_forgot_to_close() -> None:
    with trainer("forget") as (process, workers):
        assert len(workers) == 2
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
