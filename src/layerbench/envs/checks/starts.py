"""Whether different tasks are different."""

from collections.abc import Sequence
from typing import Any

from layerbench.envs.checks import inspection
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.checks.player import has_failed, is_over, some_action
from layerbench.envs.contract import shown
from layerbench.envs.descriptions import Environment
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task

_TURNS = 6
_NAME = "different tasks"


def check_starts(
    pool: EnvPool,
    env: Environment,
    tasks: Sequence[Task],
    options: dict[str, Any],
    *,
    max_turns: int,
    timeout_s: float,
) -> Finding:
    """Look whether all tasks start alike, and go on alike.

    Tasks may well begin with the same words and differ in what is hidden. They are one task only if
    nothing that the environment keeps differs, either.

    Args:
        pool: A pool of the environment.
        env: The environment.
        tasks: Some of its tasks.
        options: Its options.
        max_turns: Actions after which an episode is truncated.
        timeout_s: Longest time for an answer.
    """
    if len(tasks) < 3:
        return Finding(_NAME, Verdict.NOT_APPLICABLE, "fewer than 3 tasks: too few to compare")
    first, *others = tasks
    actions, played = _played(pool, first, None)
    starts = {repr(played[:1])}
    alike = True
    for task in others:
        _, again = _played(pool, task, actions)
        starts.add(repr(again[:1]))
        alike = alike and again == played
    if len(starts) > 1:
        return Finding(_NAME, Verdict.HOLDS, f"{len(starts)} starts in {len(tasks)} tasks")
    text = shown(played[0].text) if played else "nothing"
    if not alike:
        return Finding(
            _NAME,
            Verdict.HOLDS,
            f"{len(tasks)} tasks start alike, with {text}, and differ later",
        )
    if inspection.states_differ(env, tasks, options, max_turns=max_turns, timeout_s=timeout_s):
        return Finding(
            _NAME,
            Verdict.REMARK,
            f"{len(tasks)} tasks look alike for {len(actions)} actions, from {text} on; what the "
            "environment keeps differs",
        )
    by_seed = len({task.seed for task in tasks}) > 1
    used = "seed" if by_seed else "options"
    return Finding(
        _NAME,
        Verdict.FAILS,
        f"{env.name}: all {len(tasks)} tasks tried are one and the same: reset ignores its {used} "
        f"({used}={shown(first.seed if by_seed else dict(first.options))} and others start with "
        f"{text} and go on alike), so that every group would learn the same episode; if there is "
        'only one task, its splits have one seed: splits={"train": 1, "test": 1}',
    )


def _played(
    pool: EnvPool, task: Task, actions: Sequence[str] | None
) -> tuple[list[str], list[Any]]:
    """Play given actions, or some, and list the observations, rewards and ends."""
    outcomes: dict[int, Any] = dict(pool.reset({0: task}))
    taken: list[str] = []
    seen: list[Any] = []
    while not has_failed(outcomes):
        outcome = outcomes[0]
        # Not the ids, which differ in any case.
        seen.append(outcome.observation)
        if taken:
            seen.append((outcome.reward, outcome.terminated, outcome.truncated, outcome.success))
        is_last = len(taken) == (_TURNS if actions is None else len(actions))
        if is_last or is_over(outcome):
            break
        number = len(taken)
        action = some_action(outcome.observation, number) if actions is None else actions[number]
        taken.append(action)
        outcomes = dict(pool.step({0: action}))
    return taken, seen
