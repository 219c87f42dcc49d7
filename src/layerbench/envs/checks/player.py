"""A player that takes the actions of a list one after another, or by chance."""

import random
import re
from collections.abc import Mapping
from typing import Any

from layerbench.envs.actions import is_template
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, TaskStart

_WORDS = ("look", "yes", "1", "red", "help me", "north", "42", "0")
_BLANK = re.compile(r"<\w+>(?=\]$)")


def some_action(observation: Observation, number: int) -> str:
    """Take an action by a number: of those that are listed, else a short text.

    >>> some_action(Observation("", ("look", "search[<query>]")), 3)
    'search[red]'
    """
    word = _WORDS[number % len(_WORDS)]
    listed = observation.choices or observation.admissible_actions
    if not listed:
        return word
    action = listed[number % len(listed)]
    return _BLANK.sub(word, action) if is_template(action) else action


def random_action(observation: Observation, chance: random.Random) -> str:
    """Take one by chance."""
    return some_action(observation, chance.randrange(2**31))


def has_failed(outcomes: Mapping[int, Any]) -> bool:
    """Tell whether an episode has failed."""
    return any(isinstance(outcome, EpisodeFailure) for outcome in outcomes.values())


def is_over(outcome: TaskStart | StepResult) -> bool:
    """Tell whether an outcome is the last of its episode."""
    return isinstance(outcome, StepResult) and (outcome.terminated or outcome.truncated)
