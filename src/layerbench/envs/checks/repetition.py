"""Whether equal seeds and actions give equal episodes, wherever and after whatever they are played.

Three slots are used. Where there are two workers, the first and the third are in one process: an
order of a set repeats itself within one, and random numbers that its environments share do not
within two.
"""

from collections.abc import Sequence
from typing import Any, cast

from layerbench.envs.checks.player import has_failed, is_over, some_action
from layerbench.envs.contract import ContractError, Place, shown
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, Task, TaskStart

SLOTS = 3
"""Slots that a pool must have for this."""

_FIRST, _SECOND, _BESIDE = range(SLOTS)


class UnequalError(ContractError):
    """An episode that was played again was another one."""


def check_task(
    pool: EnvPool, task: Task, other: Task, *, env: str, turns: int, turns_beside: int = 1
) -> tuple[TaskStart | StepResult, ...] | EpisodeFailure:
    """Play a task twice, side by side and beside another one; and once more, after that.

    Args:
        pool: A pool of ``SLOTS`` slots.
        task: The task.
        other: The one beside it, of which no episode is played to its end.
        env: Name of the environment.
        turns: Largest number of turns.
        turns_beside: Turns of the other one that come between.

    Returns:
        What was played, or how it failed.

    Raises:
        UnequalError: It was not the same again.
        ContractError: The environment does not keep to the contract.
    """
    # The first alone: what hangs is waited for once, not in each slot.
    outcomes: dict[int, Any] = dict(pool.reset({_FIRST: task}))
    if not has_failed(outcomes):
        outcomes |= pool.reset({_BESIDE: other, _SECOND: task})
    actions: list[str] = []
    played: list[TaskStart | StepResult] = []
    while not has_failed({slot: outcomes.get(slot) for slot in (_FIRST, _SECOND)}):
        place = Place(env, task.task_id, len(actions))
        _compare(outcomes[_FIRST], outcomes[_SECOND], place, "the same again")
        played.append(outcomes[_FIRST])
        if len(actions) == turns or is_over(outcomes[_FIRST]):
            break
        action = some_action(outcomes[_FIRST].observation, _number(len(actions)))
        actions.append(action)
        beside = _beside(outcomes.get(_BESIDE), len(actions))
        outcomes = dict(pool.step({_FIRST: action}))
        if not has_failed(outcomes):
            outcomes |= pool.step({**beside, _SECOND: action})
    else:
        return _failure(outcomes, actions, played)
    # What is left of an episode may show in the next one's steps alone.
    outcomes = dict(pool.reset({_FIRST: other}))
    for number in range(turns_beside):
        if has_failed(outcomes) or is_over(outcomes[_FIRST]):
            break
        outcomes = dict(pool.step({_FIRST: some_action(outcomes[_FIRST].observation, number)}))
    for turn, before in enumerate(played):
        outcomes = dict(
            pool.step({_FIRST: actions[turn - 1]}) if turn else pool.reset({_FIRST: task})
        )
        if has_failed(outcomes):
            return _failure(outcomes, actions[:turn], played)
        place = Place(env, task.task_id, turn)
        _compare(before, outcomes[_FIRST], place, "after another episode")
    return tuple(played)


def _number(turn: int) -> int:
    # In order at first, so that each of a short list is taken.
    return turn if turn < 8 else turn * turn // 3


def _beside(outcome: TaskStart | StepResult | EpisodeFailure | None, turn: int) -> dict[int, str]:
    if outcome is None or isinstance(outcome, EpisodeFailure) or is_over(outcome):
        return {}
    return {_BESIDE: some_action(outcome.observation, turn)}


def _failure(
    outcomes: dict[int, Any], actions: Sequence[str], played: Sequence[TaskStart | StepResult]
) -> EpisodeFailure:
    """Add the turn and the action to how an episode has failed."""
    failed = next(o for o in outcomes.values() if isinstance(o, EpisodeFailure))
    if not actions:
        return EpisodeFailure(f"its reset: {failed.reason}")
    turn, action = len(actions), actions[-1]
    listed = played[turn - 1].observation.admissible_actions
    was_listed = ", which was listed" if action in listed else ""
    return EpisodeFailure(f"turn {turn} ({shown(action)}){was_listed}: {failed.reason}")


def _compare(
    one: TaskStart | StepResult, other: TaskStart | StepResult, place: Place, how: str
) -> None:
    """Refuse two outcomes that differ, naming the first field that does."""
    pairs = {"": (one, other), "observation.": (one.observation, other.observation)}
    for prefix, (left, right) in reversed(pairs.items()):
        for name in left.__slots__:
            here, there = getattr(left, name), getattr(right, name)
            if here != there:
                raise UnequalError(
                    f"{place.env}, task {shown(place.task)}, turn {place.turn}: played {how}, "
                    f"{prefix}{name} is {_difference(here, there)}: all must follow from the "
                    "arguments of reset and the actions (as self.np_random does, after "
                    "super().reset(seed=seed))"
                )


def _difference(here: object, there: object) -> str:
    both = f"{shown(there)} instead of {shown(here)}"
    if _is_reordered(here, there):
        return f"in another order: {both} (a set has none: sort it)"
    if not (isinstance(here, str) and isinstance(there, str)) or "..." not in both:
        return both
    # The middle of long texts is not shown, and they may differ only there.
    first = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
    start = max((min(len(here), len(there)) if first is None else first) - 20, 0)
    return f"...{shown(there[start : start + 60])} instead of ...{shown(here[start : start + 60])}"


def _is_reordered(here: object, there: object) -> bool:
    if not (isinstance(here, tuple) and isinstance(there, tuple)):
        return False
    return sorted(cast(tuple[str, ...], here)) == sorted(cast(tuple[str, ...], there))


def observations(outcomes: Sequence[TaskStart | StepResult]) -> list[Observation]:
    """List the observations of an episode that an action was due after."""
    return [outcome.observation for outcome in outcomes if not is_over(outcome)]
