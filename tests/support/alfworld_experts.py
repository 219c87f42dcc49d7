"""Experts that know the games from inside; for demonstrations and tests."""

import contextlib
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from alfworld.agents.expert.handcoded_expert import (  # pyright: ignore[reportMissingTypeStubs]
    HandCodedAgentFailed,
    HandCodedAgentTimeout,
)
from alfworld.agents.expert.handcoded_expert_tw import (  # pyright: ignore[reportMissingTypeStubs]
    HandCodedTWAgent,
)

from layerbench.envs.alfworld.explorer import parse_task
from layerbench.envs.types import Observation

IDLE = "look"
"""What an expert does that knows no better; always admissible."""


@runtime_checkable
class Expert(Protocol):
    """Plays one episode."""

    def act(self, observation: Observation) -> str:
        """Choose the next action; the last one it chose is taken to have been played."""
        ...


class WalkthroughExpert:
    """Types what it was told to, in order, whatever it reads."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = iter(tuple(commands))

    def act(self, observation: Observation) -> str:
        """Give the next command of the walkthrough; after its end there is only waiting."""
        del observation
        return next(self._commands, IDLE)


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact as ALFWorld's expert reads it."""

    name: str
    names: tuple[str, ...]


class HandcodedExpert:
    """ALFWorld's own expert, the rules of thumb it was trained from (Shridhar et al. 2021).

    It searches like a player but looks up some hidden facts. In alfworld 0.4.2 it waits for
    ``put`` commands to keep track of its hands, though the command has become ``move``; here it
    is told ``put``.

    Args:
        task_type: Type of the game's task.
        facts: Lists the facts that hold now, as ``ALFWorldEnv.facts`` does.
        seed: For its arbitrary choices.
    """

    def __init__(
        self, task_type: str, facts: Callable[[], Iterable[tuple[str, ...]]], *, seed: int = 0
    ) -> None:
        self._task_type = task_type
        self._facts = facts
        self._random_state = random.Random(seed).getstate()
        self._policy: Any = None
        self._last = ""

    def act(self, observation: Observation) -> str:
        """Choose the next action.

        Raises:
            ValueError: The first observation holds no ALFWorld task.
        """
        if self._policy is None:
            self._policy = self._new_policy(observation)
            self._last = IDLE
        else:
            action = self._wish(observation)
            self._last = action if action in observation.admissible_actions else IDLE
        return self._last

    def _new_policy(self, start: Observation) -> Any:  # noqa: ANN401  (alfworld has no types)
        words = parse_task(start.text)
        parameters = {
            "task_type": self._task_type,
            "object_target": words.target,
            "parent_target": words.place,
            "toggle_target": words.lamp,
            "mrecep_target": "",
        }
        agent: Any = HandCodedTWAgent()
        policy = agent.get_task_policy(parameters)(parameters, max_steps=10_000)
        policy.observe(start.text)
        return policy

    def _wish(self, observation: Observation) -> str:
        state = {
            "feedback": observation.text,
            "admissible_commands": observation.admissible_actions,
            "facts": [_Fact(name, tuple(names)) for name, *names in self._facts()],
        }
        with self._own_randomness():
            try:
                wish = str(self._policy.act(state, _as_put(self._last)))
            except (HandCodedAgentFailed, HandCodedAgentTimeout):
                wish = self._last
            stuck = self._last == IDLE and wish not in observation.admissible_actions
            return (
                random.choice(observation.admissible_actions)
                if stuck or wish == self._last
                else wish
            )

    @contextlib.contextmanager
    def _own_randomness(self) -> Generator[None]:
        # alfworld draws from the random module's global state.
        kept = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(kept)


def _as_put(command: str) -> str:
    return f"put{command.removeprefix('move')}" if command.startswith("move ") else command
