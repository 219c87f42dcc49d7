"""Whether tasks are listed as asked: by split, and by seed."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from layerbench.envs import registry
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.contract import ContractError, shown
from layerbench.envs.descriptions import Environment
from layerbench.envs.types import Task

_SEEDS = (1, 2, 3)


def check_disjoint(lists: Mapping[str, Sequence[Task]], *, env: str) -> None:
    """Refuse splits that share a task, or the name of one.

    Args:
        lists: Tasks by split.
        env: Name of the environment.

    Raises:
        ContractError: Two splits do; the message names both, and the task.
    """
    for (split, tasks), (other, others) in combinations(lists.items(), 2):
        names = {task.task_id for task in others}
        contents = {_content(task): task.task_id for task in others}
        for task in tasks:
            same = contents.get(_content(task))
            if same is not None or task.task_id in names:
                also = f" (there {shown(same)})" if same and same != task.task_id else ""
                raise ContractError(
                    f"{env}: task {shown(task.task_id)} of split {shown(split)} is in split "
                    f"{shown(other)} as well{also}: what is scored must not be trained on, so "
                    "tasks has to give other options or seeds in each split"
                )


def check_order(
    env: Environment,
    tasks: Sequence[Task],
    *,
    split: str,
    options: Mapping[str, Any],
    timeout_s: float,
) -> Finding:
    """Look whether other seeds give other tasks, or another order.

    Args:
        env: The environment.
        tasks: The tasks for seed 0.
        split: Their split.
        options: The environment's options.
        timeout_s: Longest time for an answer.

    Raises:
        UserError: The environment fails to list its tasks.
        ContractError: The list is not what the contract says.
    """
    name = f"tasks of {split}"
    count = f"{len(tasks)} tasks, distinct, equal at a second call"
    if len(tasks) < 3:
        return Finding(name, Verdict.HOLDS, count)
    for seed in _SEEDS:
        others = registry.list_tasks(
            env, split=split, count=len(tasks), seed=seed, options=options, timeout_s=timeout_s
        )
        if list(others) != list(tasks):
            same = {_content(task) for task in tasks} & {_content(task) for task in others}
            how = f"seed {seed} gives {len(others) - len(same)} others"
            if len(same) == len(others):
                how = f"seed {seed} gives another order"
            return Finding(name, Verdict.HOLDS, f"{count}; {how}")
    return Finding(
        name,
        Verdict.FAILS,
        f"tasks ignores its seed: the seeds 0 to {_SEEDS[-1]} give the same {len(tasks)} "
        "tasks in the same order, so that every training would be on the same ones",
    )


def _content(task: Task) -> str:
    return json.dumps([dict(task.options), task.seed], sort_keys=True)
