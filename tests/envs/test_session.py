"""A session converts Gymnasium's tuples to the types of this package."""

import sys
from pathlib import Path

import pytest

from layerbench.envs.session import Session
from layerbench.envs.types import Observation, StepResult, Task, TaskStart

BARE = "misbehaving_envs:BareEnv"

pytestmark = pytest.mark.usefixtures("misbehaving_is_importable")


@pytest.fixture
def misbehaving_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "support"), *sys.path])


def test_what_info_leaves_out_comes_from_the_task_and_the_text() -> None:
    start = Session(BARE, {}, 5).reset(Task("t7", options={"game": "g"}, seed=3))
    text = "seed 3, options {'game': 'g'}"
    assert start == TaskStart(Observation(text, (), anchor=text), task_id="t7", task_type="")


def test_what_info_holds_is_passed_on() -> None:
    start = Session("keydoor", {}, 5).reset(Task("tin/tin/pine", options={"room": "tin/tin/pine"}))
    assert start == TaskStart(
        Observation(
            text="You see a tin key and a pine door with a tin lock.",
            admissible_actions=("look", "take key", "open door"),
            anchor="tin/tin/pine holding nothing",
        ),
        task_id="tin/tin/pine",
        task_type="keys-1",
    )


def test_a_step_becomes_a_result() -> None:
    session = Session(BARE, {}, 5)
    session.reset(Task("t"))
    assert session.step("end") == StepResult(
        Observation("end", (), anchor="end"),
        reward=1.0,
        terminated=True,
        truncated=False,
        success=True,
    )


def test_the_episode_is_truncated_at_its_last_turn() -> None:
    session = Session(BARE, {}, 3)
    for _ in range(2):
        session.reset(Task("t"))
        assert [session.step("go").truncated for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("last", ["end", "go"])
def test_an_ended_episode_takes_no_more_steps(last: str) -> None:
    session = Session(BARE, {}, 1)
    session.reset(Task("t"))
    session.step(last)
    with pytest.raises(RuntimeError, match="no episode is under way"):
        session.step("go")


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no episode is under way"):
        Session(BARE, {}, 1).step("go")
