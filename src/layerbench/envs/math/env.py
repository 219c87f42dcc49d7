"""Mathematics for the registry: environments, tasks and their source, by the options."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from layerbench.envs.choices import check_known
from layerbench.envs.math import datasets, expressions, generator
from layerbench.envs.math.generated import GeneratedMath
from layerbench.envs.math.published import PublishedMath
from layerbench.envs.types import Task, TaskSource
from layerbench.errors import UserError


def make(  # noqa: PLR0913 - an environment's options
    *,
    levels: str = "first",
    signs: str = "plain",
    tools: str = "none",
    data: str = "",
    test_data: str = "",
    question_field: str = "",
    answer_field: str = "",
    max_turns: int = 8,
) -> gym.Env[str, str]:
    """Make an environment of generated problems, or of published ones where data is given.

    Args:
        levels: Levels of the generated problems, with commas between them: ``chain-2``,
            ``chain-3``, ``brackets``, ``equation``, ``base``, which are ``first``; ``chain-4``,
            ``chain-5``, ``brackets-2``, ``equation-2``, ``base-sum``, which are ``next``; or
            ``all``.
        signs: ``plain``, or ``permuted``: each written sign means another.
        tools: ``none``, so that the first action is the answer; or ``calculator``.
        data: Published problems: a file (JSON lines, JSON, Parquet), a folder of such, or the name
            of a data set on the Hub, as OWNER/NAME, OWNER/NAME@REVISION or
            OWNER/NAME@REVISION:FILES; empty for generated problems.
        test_data: The same for the split ``test``; empty takes the files of ``data`` whose names
            bear that word, or an eighth of its problems, by the hash of their text.
        question_field: Column of the problem; empty finds it.
        answer_field: Column of the answer, or of the solution that ends in it; empty finds it.
        max_turns: Actions after which an episode is truncated.

    Raises:
        UserError: A choice is unknown, or the data cannot be used.
    """
    named = datasets.Named(data, test_data, question_field, answer_field)
    if not data:
        _check_generated(named)
        return GeneratedMath(levels=levels, signs=signs, tools=tools, max_turns=max_turns)
    _check_published(signs=signs, tools=tools, levels=levels)
    return PublishedMath(named, max_turns=max_turns)


def list_tasks(  # noqa: PLR0913 - the options that choose tasks
    *,
    split: str,
    count: int | None,
    seed: int,
    levels: str = "first",
    signs: str = "plain",
    data: str = "",
    test_data: str = "",
    question_field: str = "",
    answer_field: str = "",
) -> tuple[Task, ...]:
    """Draw problems as tasks; see ``generator.list_tasks`` and ``datasets.list_tasks``.

    Raises:
        UserError: The split or a level is unknown, there are fewer problems, or the data cannot be
            used.
    """
    if not data:
        return generator.list_tasks(split=split, count=count, seed=seed, levels=levels, signs=signs)
    named = datasets.Named(data, test_data, question_field, answer_field)
    return datasets.list_tasks(named, split=split, count=count, seed=seed)


def source_of(
    *,
    splits: Sequence[str],
    signs: str = "plain",
    data: str = "",
    test_data: str = "",
    question_field: str = "",
    answer_field: str = "",
) -> TaskSource:
    """Name the generator, or the problems by their hash, for records.

    Raises:
        UserError: The data cannot be used.
    """
    check_known("env.signs", signs, expressions.SIGNS)
    if not data:
        suffix = "" if signs == "plain" else f"-{signs}"
        return TaskSource(f"math-gen-{generator.VERSION}{suffix}")
    named = datasets.Named(data, test_data, question_field, answer_field)
    return datasets.source_of(named, splits)


def _check_generated(named: datasets.Named) -> None:
    if any((named.test_data, named.question_field, named.answer_field)):
        raise UserError("env.test_data, env.question_field and env.answer_field are of env.data")


def _check_published(**options: Any) -> None:  # noqa: ANN401 - an option's value
    defaults = {"signs": "plain", "tools": "none", "levels": "first"}
    wrong = [name for name, value in options.items() if value != defaults[name]]
    if wrong:
        given, needed = (
            " ".join(f"env.{name}={values[name]}" for name in wrong)
            for values in (options, defaults)
        )
        raise UserError(
            f"{given}: of generated problems, not of env.data: set {needed}, or take --preset "
            "quick-generate, paper-math, or small with agent.action_mode=generate "
            "agent.context_mode=window"
        )
