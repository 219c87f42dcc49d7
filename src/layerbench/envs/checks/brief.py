"""A short check before a run: whether an environment is what the run takes it for."""

from collections.abc import Mapping, Sequence
from typing import Any

from layerbench.envs import references, registry
from layerbench.envs.checks import lists, repetition, starts
from layerbench.envs.checks.findings import Verdict
from layerbench.envs.checks.listed_actions import check_listed, check_texts
from layerbench.envs.contract import ContractError, Place
from layerbench.envs.descriptions import Environment
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Task

TURNS = 3
"""Turns that each task is played."""

PATIENCE_S = 60.0
"""Longest time for an answer, unless the settings allow more than they do by themselves."""

_STARTS = 4
_MOST_FAILED = 3


def check_play(
    env: Environment,
    options: Mapping[str, Any],
    tasks: Mapping[str, Sequence[Task]],
    *,
    max_turns: int,
    timeout_s: float,
    chooses: bool = False,
) -> None:
    """Play the first turns of a task of each split twice, and compare tasks and splits.

    An environment that is not layerbench's own is played in two processes, as an order of a set
    repeats itself within one. An episode that fails is left to the run, where it counts as lost,
    unless all do.

    Args:
        env: The environment.
        options: Arguments of its constructor.
        tasks: The tasks of the run by split.
        max_turns: Actions after which an episode is truncated.
        timeout_s: Longest time for a worker process to answer in the run, and here if it is longer
            than usual.
        chooses: The agent chooses among listed actions, so that there must be some.

    Raises:
        ContractError: The environment does not keep to the contract.
        WorkerStartError: A worker process breaks down whenever it starts.
    """
    lists.check_disjoint(tasks, env=env.name)
    longest = max(tasks.values(), key=len)
    first = [listed[0] for listed in tasks.values()]
    more = [task for listed in tasks.values() for task in listed[1:_STARTS]]
    if timeout_s <= registry.TIMEOUT_S:
        timeout_s = min(timeout_s, PATIENCE_S)
    with EnvPool(
        env.reference,
        options,
        max_turns=max_turns,
        num_slots=repetition.SLOTS,
        num_workers=0 if env.is_own else 2,
        timeout_s=timeout_s,
        max_losses=1,
    ) as pool:
        _check_episodes(pool, first, more, env=env.name, chooses=chooses)
        # Those of this package are known to differ, and take a while to load.
        if env.reference not in references.own_specs():
            found = starts.check_starts(
                pool,
                env,
                longest[:_STARTS],
                dict(options),
                max_turns=max_turns,
                timeout_s=timeout_s,
            )
            if found.verdict is Verdict.FAILS:
                raise ContractError(found.detail)


def _check_episodes(
    pool: EnvPool, first: Sequence[Task], more: Sequence[Task], *, env: str, chooses: bool
) -> None:
    """Check the first tasks; where all of them fail, further ones."""
    tasks = (*first, *more)
    failures: list[EpisodeFailure] = []
    for number, task in enumerate(tasks):
        is_needed = number < len(first) or len(failures) == number
        if not is_needed or len(failures) == _MOST_FAILED:
            break
        other = tasks[(number + 1) % len(tasks)]
        outcomes = repetition.check_task(pool, task, other, env=env, turns=TURNS)
        if isinstance(outcomes, EpisodeFailure):
            failures.append(outcomes)
            continue
        place = Place(env, task.task_id)
        observations = repetition.observations(outcomes)
        check_texts(observations, place=place)
        if chooses:
            check_listed(observations[0], place=place)
    if failures and len(failures) == min(len(tasks), _MOST_FAILED):
        raise ContractError(
            f"{env}: each of the {len(failures)} tasks tried failed: {failures[0].reason}"
            f"{_hint(failures)}"
        )


def _hint(failures: Sequence[EpisodeFailure]) -> str:
    """Say how a slow environment gets more time; empty for other failures."""
    is_slow = any("did not answer within" in failure.reason for failure in failures)
    return "; one that needs longer gets it by env.timeout_s above 300" if is_slow else ""
