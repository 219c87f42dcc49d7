"""Reasoning Gym's generated tasks (Stojanovski et al. 2025, arXiv:2505.24760): one answer each."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from layerbench.envs.choices import check_known
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import (
    Family,
    Game,
    Moment,
    OwnRandom,
    imported,
    options_of,
    silence,
)
from layerbench.errors import UserError

FAMILY = Family(
    "generated questions with one answer, scored",
    "countdown",
    "reasoning_gym",
    extra="reasoning-gym",
)

_MAX_CHARS = 10_000
"""Longest answer that is scored; some scorers parse what they are given as a formula."""

_COMPOSED = "composite"


class ReasoningGym(Game):
    """A question with one answer, scored from 0 to 1 by the generator's own scorer.

    Args:
        dataset: Name of the generator, such as ``countdown``.
        config: Settings of the generator, as ``name=value,name=value``; empty for its own.

    Raises:
        UserError: There is no such generator or setting.
    """

    def __init__(self, *, dataset: str, config: str = "") -> None:
        _check_dataset(dataset)
        super().__init__(dataset)
        self._package: Any = imported("reasoning_gym", extra="reasoning-gym")
        self._dataset = dataset
        self._config = options_of(config, "env.config")
        settings = _settings(dataset)
        for name in self._config:
            check_known(f"setting of {dataset}", name, settings)
        self._make(0)

    def begin(self, seed: int, task: str) -> Moment:
        # Made anew: the items of some generators depend on those that were drawn before.
        self._random = OwnRandom(seed)
        with self._random, silence():
            self._made = self._make(seed)
            self._item: Any = self._made[0]
        self._question = str(self._item["question"])
        return Moment(self._question)

    def play(self, action: str) -> Moment:
        with self._random, silence():
            score = self._score(action)
        won = score >= 1.0
        return Moment("Right." if won else "Wrong.", reward=score, won=won, over=True)

    def _score(self, answer: str) -> float:
        if len(answer) > _MAX_CHARS:
            return 0.0
        try:
            return float(self._made.score_answer(answer.strip(), self._item))
        # Some scorers fail for an answer that is not written as they expect.
        except Exception:  # noqa: BLE001
            return 0.0

    def _make(self, seed: int) -> Any:  # noqa: ANN401
        try:
            return self._package.create_dataset(self._dataset, seed=seed, size=1, **self._config)
        # Each generator checks its settings by assertions.
        except (AssertionError, TypeError, ValueError) as error:
            raise UserError(f"env.config of {self._dataset}: {error}") from error


def _settings(dataset: str) -> list[str]:
    factory = imported("reasoning_gym.factory", extra="reasoning-gym")
    fields = dataclasses.fields(factory.DATASETS[dataset][1])
    return [field.name for field in fields if field.name not in ("seed", "size")]


def _check_dataset(dataset: str) -> None:
    factory = imported("reasoning_gym.factory", extra="reasoning-gym")
    if dataset == _COMPOSED:
        raise UserError("reasoning-gym:composite only mixes others: name one of them")
    known = sorted(factory.DATASETS.keys() - {_COMPOSED})
    check_known("generator of reasoning-gym", dataset, known)


def spec(argument: str) -> EnvSpec:
    """Describe ``reasoning-gym:NAME``.

    Raises:
        UserError: There is no such generator, or Reasoning Gym is not installed.
    """
    _check_dataset(argument)
    return EnvSpec(
        env="layerbench.envs.wrappers.reasoning_gym:ReasoningGym",
        name=f"reasoning-gym:{argument}",
        arguments={"dataset": argument},
        package="reasoning-gym",
        max_turns=1,
        rules="You are asked a question. Your one action is the answer, in the form it asks for.",
        settings={"agent.action_mode": "generate"},
    )


def listing() -> Iterable[tuple[str, str]]:
    """List the generators, or one of them if Reasoning Gym is missing."""
    try:
        factory = imported("reasoning_gym.factory", extra="reasoning-gym")
    except UserError:
        return [("countdown", "a question with one answer")]
    known = sorted(factory.DATASETS.keys() - {_COMPOSED})
    return [(name, f"one answer: {name.replace('_', ' ')}") for name in known]
