"""An environment with two actions that differ in a word that no embedded model knows."""

from typing import Any

import gymnasium as gym

from layerbench.envs.spaces import AnyText
from layerbench.envs.spec import EnvSpec
from layerbench.envs.types import Task


class Twins(gym.Env[str, str]):
    """Two actions of the second turn differ in a word that the model does not know."""

    def __init__(self, *, num_keys: int) -> None:
        del num_keys
        self.observation_space = self.action_space = AnyText(max_chars=80)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        # Nobody sees it, but without it all tasks would be one.
        self.seed = seed
        return "You see a key.", self._info("look")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "You see a door.", 0.0, False, False, self._info("take qux", "open", "take quux")

    def _info(self, *actions: str) -> dict[str, Any]:
        return {"admissible_actions": actions, "success": False}


def twin_tasks(*, split: str, count: int | None, seed: int, num_keys: int) -> tuple[Task, ...]:
    del seed, num_keys
    return tuple(Task(f"{split}-{number}", {"in": split}, number) for number in range(count or 8))


SPEC = EnvSpec(env=Twins, max_turns=3, tasks=twin_tasks, options={"num_keys": 1})
