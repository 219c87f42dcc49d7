"""Tasks of an environment that lists none itself: seeds, or names."""

import random
from collections.abc import Mapping, Sequence

from layerbench.envs.choices import nearest
from layerbench.envs.types import Task
from layerbench.errors import UserError

MOST_SEEDS = 1_000_000
"""Largest number of seeds of a split."""


def draw(
    splits: Mapping[str, int | Sequence[str]],
    *,
    split: str,
    count: int | None,
    seed: int,
    env: str,
) -> tuple[Task, ...]:
    """Draw distinct tasks of a split, in an order by ``seed``.

    Args:
        splits: Number of seeds, or names of the tasks, of each split.
        split: Name of the split.
        count: Number of tasks; None for all.
        seed: Seed of choice and order; a shorter list is the beginning of a longer one.
        env: Name of the environment, for errors.

    Raises:
        UserError: There is no such split, or it has fewer tasks.
    """
    if split not in splits:
        raise UserError(f"{env} has no split '{split}': {nearest(split, list(splits))}")
    tasks = splits[split]
    size = tasks if isinstance(tasks, int) else len(tasks)
    if count is not None and not 0 < count <= size:
        raise UserError(f"split '{split}' of {env} has {size} tasks, not {count}")
    chosen = random.Random(seed).sample(range(size), size)[:count]
    if not isinstance(tasks, int):
        return tuple(Task(tasks[number], options={"task": tasks[number]}) for number in chosen)
    # By the split's place alone: the tasks of one stay as they are if another one grows.
    first = list(splits).index(split) * MOST_SEEDS
    return tuple(Task(f"{split}-{number}", seed=first + number) for number in chosen)
