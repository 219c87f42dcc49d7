"""A pool of workers survives errors, deaths, hangs and interrupts of its environments.

An episode that loses its worker is played again, and comes out as if nothing had happened; one
that fails by itself is reported.
"""

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
from layerbench.envs.worker_process import WorkerStartError

SUPPORT = Path(__file__).parents[1] / "support"
MISBEHAVING = "misbehaving_envs:MisbehavingEnv"
TASK = Task("t")
SHOWS_PROCESS = {"shows_process": True}

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
@pytest.mark.parametrize(("how", "says"), [("raise", "KeyError"), ("sys.exit", "SystemExit: 3")])
def test_an_exception_costs_one_episode(num_workers: int, how: str, says: str) -> None:
    with pool_of(4, num_workers=num_workers, options=SHOWS_PROCESS) as pool:
        assert not failed(pool.reset(dict.fromkeys(range(4), TASK)))
        outcomes = pool.step({0: "wait", 1: "wait", 2: how, 3: "wait"})
        assert failed(outcomes) == {2}
        reason = texts(outcomes)[2]
        assert says in reason
        assert "misbehaving_envs.py" in reason
        assert "\n" not in reason
        # Slot 2 stays lost until it is reset, then it gets a fresh environment.
        assert failed(pool.step(dict.fromkeys(range(4), "wait"))) == {2}
        restarted = texts(pool.reset({2: TASK, 3: TASK}))
        assert restarted[2].startswith("episode 1 ")
        assert restarted[3].startswith("episode 2 ")
        assert not failed(pool.step(dict.fromkeys(range(4), "wait")))
        assert not any(map(pool.was_replayed, range(4)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_exception_in_a_reset_costs_one_episode(num_workers: int) -> None:
    with pool_of(2, num_workers=num_workers) as pool:
        bad = Task("bad", options={"then": "raise"})
        assert failed(pool.reset({0: TASK, 1: bad})) == {1}
        assert failed(pool.step({0: "wait", 1: "wait"})) == {1}


def test_an_environment_that_cannot_be_made_fails_its_episodes() -> None:
    with pool_of(1, num_workers=1, options={"broken": True}) as pool:
        (failure,) = pool.reset({0: TASK}).values()
        assert isinstance(failure, EpisodeFailure)
        assert failure.reason.startswith("ValueError: no such environment (misbehaving_envs.py:")
        assert failure.trace.startswith("Traceback")


def test_a_slot_keeps_its_environment_and_its_process() -> None:
    with pool_of(3, options=SHOWS_PROCESS) as pool:
        pids = pool.worker_pids
        assert len(set(pids)) == 2
        pool.reset(dict.fromkeys(range(3), TASK))
        assert texts(pool.reset({0: TASK, 2: TASK})) == {
            0: f"episode 2 in {pids[0]}",
            2: f"episode 2 in {pids[0]}",
        }
        assert texts(pool.step({2: "b", 1: "a"})) == {1: f"a in {pids[1]}", 2: f"b in {pids[0]}"}


def test_an_environment_of_somebody_else_never_plays_in_this_process() -> None:
    with pool_of(2, num_workers=0, options=SHOWS_PROCESS) as pool:
        (pid,) = pool.worker_pids
        assert texts(pool.reset({1: TASK})) == {1: f"episode 1 in {pid}"}
    with EnvPool("keydoor", {}, max_turns=5, num_slots=2, num_workers=0) as pool:
        assert pool.worker_pids == ()


@pytest.mark.parametrize("when", ["between steps", "before the reset", "twice", "both workers"])
def test_a_killed_worker_is_replaced_and_its_episodes_go_on(when: str) -> None:
    with pool_of(4) as pool:
        before = pool.worker_pids
        if when == "before the reset":
            os.kill(before[1], signal.SIGKILL)
        assert not failed(pool.reset(dict.fromkeys(range(4), TASK)))
        pool.step(dict.fromkeys(range(4), "a"))
        # Slots 1 and 3 live in worker 1.
        os.kill(pool.worker_pids[1], signal.SIGKILL)
        if when == "both workers":
            os.kill(pool.worker_pids[0], signal.SIGKILL)
        assert texts(pool.step({0: "b", 1: "b"})) == {0: "b at turn 2", 1: "b at turn 2"}
        if when == "twice":
            os.kill(pool.worker_pids[-1], signal.SIGKILL)
        # Slot 3 was not played when its worker was lost.
        assert texts(pool.step({1: "c", 2: "c", 3: "c"})) == {
            1: "c at turn 3",
            2: "c at turn 2",
            3: "c at turn 2",
        }
        replayed = {slot for slot in range(4) if pool.was_replayed(slot)}
        assert replayed == ({0, 1, 2, 3} if when == "both workers" else {1, 3})
        assert pool.worker_pids[1] != before[1]
        pool.reset({1: TASK})
        assert not pool.was_replayed(1)


@pytest.mark.parametrize(
    ("how", "says"), [("kill", "was killed by SIGKILL"), ("exit", "exited with 3")]
)
def test_only_the_episode_that_ends_its_worker_every_time_fails(how: str, says: str) -> None:
    with pool_of(6) as pool:
        pool.reset(dict.fromkeys(range(6), TASK))
        # Slots 1, 3 and 5 live in worker 1: as often as 3 loses it, the others lose nothing.
        outcomes = pool.step({**dict.fromkeys(range(6), "wait"), 3: how})
        assert failed(outcomes) == {3}
        assert texts(outcomes)[3] == f"env worker 1 {says}, each of the times it was played"
        assert {slot for slot in range(6) if pool.was_replayed(slot)} == {1, 3, 5}
        assert texts(pool.step({1: "a", 5: "a"})) == {1: "a at turn 2", 5: "a at turn 2"}
        assert failed(pool.step({3: "wait"})) == {3}
        assert not failed(pool.reset({3: TASK}))


def test_a_reset_that_ends_its_worker_every_time_fails_alone() -> None:
    bad = Task("bad", options={"then": "exit"})
    with pool_of(4, num_workers=1) as pool:
        assert failed(pool.reset({0: TASK, 1: bad, 2: TASK, 3: bad})) == {1, 3}
        assert texts(pool.step({0: "a", 2: "a"})) == {0: "a at turn 1", 2: "a at turn 1"}


def test_an_episode_that_hangs_fails_and_those_beside_it_do_not() -> None:
    with pool_of(3, num_workers=1, timeout_s=2.0) as pool:
        pool.reset(dict.fromkeys(range(3), TASK))
        outcomes = pool.step({0: "wait", 1: "hang", 2: "wait"})
        assert failed(outcomes) == {1}
        assert texts(outcomes)[1].startswith("env worker 0 did not answer within 2 s, each")
        assert texts(pool.step({0: "b", 2: "b"})) == {0: "b at turn 2", 2: "b at turn 2"}


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_a_stopped_worker_is_replaced_and_its_episodes_go_on(size: int) -> None:
    # A stopped process takes nothing: a long action does not even fit into its pipe.
    with pool_of(2, num_workers=1, timeout_s=3.0) as pool:
        pool.reset({0: TASK, 1: TASK})
        os.kill(pool.worker_pids[0], signal.SIGSTOP)
        assert texts(pool.step({1: "a" * size})) == {1: "a" * size + " at turn 1"}
        assert texts(pool.step({0: "b", 1: "b"})) == {0: "b at turn 1", 1: "b at turn 2"}


def test_an_episode_that_cannot_be_repeated_fails() -> None:
    with pool_of(2, num_workers=1, options=SHOWS_PROCESS) as pool:
        pool.reset({0: TASK, 1: TASK})
        os.kill(pool.worker_pids[0], signal.SIGKILL)
        outcomes = pool.step({0: "a"})
        assert (
            texts(outcomes)[0] == "its worker was lost, and played again it differs after 0 actions"
        )


def test_an_interrupted_call_leaves_no_answer_for_the_next_one() -> None:
    with pool_of(2) as pool:
        pool.reset({0: TASK, 1: TASK})
        with pytest.raises(KeyboardInterrupt):
            pool.step({0: "wait", 1: "interrupt parent"})
        # Slot 0 may have been played before the interrupt; it is taken back.
        assert texts(pool.step({0: "other", 1: "other"})) == {
            0: "other at turn 1",
            1: "other at turn 1",
        }


def test_what_cannot_be_prepared_does_not_stop_the_rest() -> None:
    tasks = [Task(f"{n}", options={"then": then}) for n, then in enumerate(["raise", "wait"] * 20)]
    with pool_of(2) as pool:
        pool.prepare(tasks)
        assert failed(pool.reset({0: tasks[0], 1: tasks[1]})) == {0}


def test_a_worker_that_dies_preparing_costs_nothing() -> None:
    with pool_of(2) as pool:
        pool.prepare([Task("bad", options={"then": "kill"})] * 2)
        assert not failed(pool.reset({0: TASK, 1: TASK}))
        pool.prepare([Task("bad", options={"then": "kill"})] * 2)
        assert texts(pool.step({0: "a", 1: "a"})) == {0: "a at turn 1", 1: "a at turn 1"}


def test_an_environment_that_ends_its_worker_as_it_starts_is_refused() -> None:
    with (
        pool_of(2, options={"then": "exit"}) as pool,
        pytest.raises(
            WorkerStartError,
            match=r"cannot be started: env worker . exited with 3 as it started, 10 times$",
        ),
    ):
        pool.reset({0: TASK})


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
