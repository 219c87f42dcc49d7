"""A short check before a run: whether an environment repeats itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from layerbench.envs.actions import is_template
from layerbench.envs.contract import ContractError, Place, shown
from layerbench.envs.pool import EnvPool
from layerbench.envs.registry import Environment
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, Task, TaskStart

TURNS = 3
"""Turns that each task is played."""


def check_play(
    env: Environment,
    options: Mapping[str, Any],
    tasks: Sequence[Task],
    *,
    max_turns: int,
    timeout_s: float,
) -> None:
    """Play the first turns of tasks twice, side by side, and once more after that.

    An environment that is not layerbench's own is played in two processes, as an order of a set
    repeats itself within one. An episode that fails is left to the run, where it counts as lost.

    Args:
        env: The environment.
        options: Arguments of its constructor.
        tasks: The tasks.
        max_turns: Actions after which an episode is truncated.
        timeout_s: Longest time for a worker process to answer.

    Raises:
        ContractError: The environment does not keep to the contract.
        WorkerStartError: A worker process breaks down whenever it starts.
    """
    workers = 0 if env.is_own else 2
    with EnvPool(
        env.reference,
        options,
        max_turns=max_turns,
        num_slots=2,
        num_workers=workers,
        timeout_s=timeout_s,
    ) as pool:
        for task in tasks:
            _check_task(pool, task, env=env.name)


def _check_task(pool: EnvPool, task: Task, *, env: str) -> None:
    outcomes: dict[int, Any] = dict(pool.reset({0: task, 1: task}))
    actions: list[str] = []
    played: list[TaskStart | StepResult] = []
    while not _has_failed(outcomes):
        _compare(outcomes[0], outcomes[1], Place(env, task.task_id, len(actions)), "the same again")
        played.append(outcomes[0])
        if len(actions) == TURNS or _is_over(outcomes[0]):
            break
        actions.append(_some_action(outcomes[0].observation, len(actions)))
        outcomes = dict(pool.step({0: actions[-1], 1: actions[-1]}))
    # What is left of an episode may show in the next one's steps alone.
    for turn, before in enumerate(played):
        outcomes = dict(pool.step({0: actions[turn - 1]}) if turn else pool.reset({0: task}))
        if _has_failed(outcomes):
            return
        _compare(before, outcomes[0], Place(env, task.task_id, turn), "after another episode")


def _has_failed(outcomes: Mapping[int, Any]) -> bool:
    return any(isinstance(outcome, EpisodeFailure) for outcome in outcomes.values())


def _is_over(outcome: TaskStart | StepResult) -> bool:
    return isinstance(outcome, StepResult) and (outcome.terminated or outcome.truncated)


def _some_action(observation: Observation, turn: int) -> str:
    listed = observation.choices or observation.admissible_actions
    actions = [action for action in listed if not is_template(action)] or [""]
    return actions[turn % len(actions)]


def _compare(
    one: TaskStart | StepResult, other: TaskStart | StepResult, place: Place, how: str
) -> None:
    """Refuse two outcomes that differ, naming the first field that does."""
    pairs = {"": (one, other), "observation.": (one.observation, other.observation)}
    for prefix, (left, right) in reversed(pairs.items()):
        for name in left.__slots__:
            here, there = getattr(left, name), getattr(right, name)
            if here != there:
                raise ContractError(
                    f"{place.env}, task {shown(place.task)}, turn {place.turn}: played {how}, "
                    f"{prefix}{name} is {shown(there)} instead of {shown(here)}: all must follow "
                    "from the arguments of reset and the actions"
                )
