"""Experts that use hidden information about the games."""

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
"""The action of an expert without a better one; always admissible."""


@runtime_checkable
class Expert(Protocol):
    """Plays one episode."""

    def act(self, observation: Observation) -> str:
        """Choose the next action; the one before is assumed to have been played."""
        ...


class WalkthroughExpert:
    """Plays a list of commands in order, whatever the observations."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = iter(tuple(commands))

    def act(self, observation: Observation) -> str:
        """Return the next command of the walkthrough, or ``IDLE`` after its end."""
        del observation
        return next(self._commands, IDLE)


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact in the form that ALFWorld's expert reads."""

    name: str
    names: tuple[str, ...]


class HandcodedExpert:
    """ALFWorld's rule-based expert, from which its agents were trained (Shridhar et al. 2021).

    It searches like a player but looks up some hidden facts. In alfworld 0.4.2 it recognizes only
    ``put`` commands to keep track of its hands, though the command is ``move`` by now; here it is
    given ``put``.

    Args:
        task_type: Type of the game's task.
        facts: Lists the facts that hold now, as ``ALFWorldEnv.facts`` does.
        seed: Seed of its random choices.
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
            action = self._policy_action(observation)
            self._last = action if action in observation.admissible_actions else IDLE
        return self._last

    def _new_policy(self, start: Observation) -> Any:  # noqa: ANN401  (alfworld has no types)
        words = parse_task(start.text)
        parameters = {
            "task_type": self._task_type,
            "object_target": words.target,
            "parent_target": words.destination,
            "toggle_target": words.lamp,
            "mrecep_target": "",
        }
        agent: Any = HandCodedTWAgent()
        policy = agent.get_task_policy(parameters)(parameters, max_steps=10_000)
        policy.observe(start.text)
        return policy

    def _policy_action(self, observation: Observation) -> str:
        state = {
            "feedback": observation.text,
            "admissible_commands": observation.admissible_actions,
            "facts": [_Fact(name, tuple(names)) for name, *names in self._facts()],
        }
        with self._own_randomness():
            try:
                action = str(self._policy.act(state, _as_put(self._last)))
            except (HandCodedAgentFailed, HandCodedAgentTimeout):
                action = self._last
            stuck = self._last == IDLE and action not in observation.admissible_actions
            # A repeated action would change nothing: a random one gets the policy out of the loop.
            if stuck or action == self._last:
                action = random.choice(observation.admissible_actions)
            return action

    @contextlib.contextmanager
    def _own_randomness(self) -> Generator[None]:
        # alfworld draws from the random module's global state.
        global_state = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(global_state)


def _as_put(command: str) -> str:
    return f"put{command.removeprefix('move')}" if command.startswith("move ") else command
