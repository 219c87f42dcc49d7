"""Somebody else's environment keeps to the contract, or is refused in one line that says where."""

import sys
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs import references, registry
from layerbench.envs.checks.brief import check_play
from layerbench.envs.contract import ContractError
from layerbench.envs.session import Session
from layerbench.envs.types import Task
from layerbench.errors import UserError

SUPPORT = str(Path(__file__).parents[1] / "support")
TASK = Task("tin/tin/pine", options={"room": "tin/tin/pine"})


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [SUPPORT, *sys.path])


def foreign() -> Any:  # noqa: ANN401
    import foreign_envs  # noqa: PLC0415  # pyright: ignore

    return foreign_envs


def break_it(patch: pytest.MonkeyPatch, fault: str) -> None:
    patch.setenv(foreign().FAULT, fault)


def list_them() -> tuple[Task, ...]:
    return registry.list_tasks(
        registry.find(foreign().ENV), split="test", count=4, seed=0, options={}, timeout_s=20.0
    )


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nan", "the reward is nan, not a finite number of at most 1e+30"),
        ("inf", "the reward is -inf, not a finite number"),
        ("np.nan", "the reward is np.float32(nan), not a finite number"),
        ("text", "the reward is '1.0', not a number"),
        ("bool", "the reward is True, not a number"),
        ("np.bool", "the reward is np.True_, not a number"),
        ("none", "the reward is None, not a number"),
        ("array", "the reward is array([1.]), not a number"),
        ("huge", "not a finite number"),
        ("large", "the reward is 1e+300, not a finite number"),
        ("terminated is text", "terminated is 'no', not True or False"),
        ("success is missing", "info has no 'success'"),
    ],
)
def test_a_step_that_breaks_the_contract_is_refused_at_once(
    fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, f"{fault} at turn 2")
    session = Session(foreign().ENV, {}, 5)
    session.reset(TASK)
    session.step("look")
    with pytest.raises(ContractError) as refused:
        session.step("take key")
    where = "foreign, task 'tin/tin/pine', turn 2 ('take key'): "
    assert str(refused.value).startswith(where)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("success is text", "info['success'] is 'False', not True or False"),
        ("success is a number", "info['success'] is 1, not True or False"),
        ("actions are text", "info['admissible_actions'] is 'look', not a list or tuple"),
        ("actions are an array", "info['admissible_actions'] is array(['look']"),
        ("an action is empty", "an action in info['admissible_actions'] is ' ', not one line"),
        ("an action has two lines", r"is 'take\nkey', not one line of text"),
        ("an action is a number", "an action in info['admissible_actions'] is 3, not a str"),
        ("an action repeats", "info['admissible_actions'] has 'look' 2 times"),
        ("choices are text", "info['choices'] is 'look', not a list or tuple"),
        ("anchor is a number", "info['anchor'] is 7, not a str"),
        ("another task", "info['task_id'] is 'tin/tin/oak', not that of the task asked for"),
        ("task type is none", "info['task_type'] is None, not a str"),
        ("text is none", "the observation is None, not a str"),
        ("text is bytes", "the observation is b'door', not a str"),
        ("half a letter", r"the observation is no text that UTF-8 can write: '\ud800'"),
        ("reset has no info", "not an observation and an info"),
    ],
)
def test_a_reset_that_breaks_the_contract_is_refused_at_once(
    fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, fault)
    with pytest.raises(ContractError) as refused:
        Session(foreign().ENV, {}, 5).reset(TASK)
    assert says in str(refused.value)
    assert "foreign, task 'tin/tin/pine', its reset: " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("fault", ["", "list prints"])
def test_a_sound_environment_is_asked_and_played(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, fault)
    env = registry.find(foreign().ENV)
    registry.check_options(env, {})
    tasks = list_them()
    own = registry.list_tasks(registry.find("keydoor"), split="test", count=4, seed=0, options={})
    assert tasks == own
    assert registry.describe(env, {}).source.startswith("foreign-")
    check_play(env, {}, {"test": tasks}, max_turns=5, timeout_s=20.0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("list raises", "foreign cannot give its tasks: KeyError: 'split\\nmissing' (foreign_envs"),
        ("list recurses", "foreign cannot give its tasks: RecursionError: "),
        ("list exits softly", "foreign cannot give its tasks: SystemExit: 5 (foreign_envs.py:"),
        ("list exits", "foreign, asked for its tasks, ended its process with 3"),
        ("import exits", "foreign, asked for its tasks, ended its process with 4"),
        ("list ignores count", "tasks of split 'test': it gave 5 tasks, asked for 4"),
        ("list is empty", "it gave 0 tasks, asked for 4"),
        ("list repeats", "it gave task 'tin/tin/pine' 4 times"),
        ("list is random", "it gave other tasks at a second call with the same arguments"),
        ("list is no list", "it gave 'tasks', not a list of tasks"),
        ("list has text", "task 1 is 'tin/tin/pine', not a layerbench.Task"),
        ("list has objects", "the options of task 1 are not plain data: {'room': <object"),
        ("list has one task", "are one task: their options and seeds are equal"),
    ],
)
def test_a_bad_list_of_tasks_is_refused_in_one_line(
    fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, fault)
    with pytest.raises(UserError) as refused:
        list_them()
    assert says in str(refused.value)
    assert str(refused.value).startswith("foreign")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("make raises", "foreign cannot be made: ValueError: no such thing (foreign_envs.py:"),
        ("make exits", "foreign, asked for its environment, ended its process with 3"),
        ("make hangs", "foreign, asked for its environment, did not answer within 5 s"),
    ],
)
def test_an_environment_that_cannot_be_made_is_named(
    fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, fault)
    with pytest.raises(UserError) as refused:
        registry.check_options(registry.find(foreign().ENV), {}, timeout_s=5.0)
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("reset is random", "turn 0: played the same again, observation.text is 'You see"),
        ("reset counts", "turn 0: played after another episode, observation.text is 'You see"),
        ("step counts at turn 2", "turn 2: played after another episode, observation.text is "),
        ("step is random at turn 2", "turn 2: played the same again, observation.text is "),
        ("nan", "turn 1 ('look'): the reward is nan"),
        ("another task", "its reset: info['task_id'] is 'tin/tin/oak'"),
    ],
)
def test_what_does_not_repeat_itself_is_refused_before_a_run(
    fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, fault)
    with pytest.raises(ContractError) as refused:
        check_play(registry.find(foreign().ENV), {}, {"test": [TASK]}, max_turns=5, timeout_s=20.0)
    assert says in str(refused.value)
    assert "foreign, task 'tin/tin/pine', " in str(refused.value)


@pytest.mark.parametrize("name", references.own_names())
def test_the_environments_of_this_package_pass(name: str) -> None:
    env = registry.find(name)
    tasks = registry.list_tasks(env, split="train", count=2, seed=0, options=env.options)
    check_play(env, env.options, {"train": tasks}, max_turns=5, timeout_s=20.0)
