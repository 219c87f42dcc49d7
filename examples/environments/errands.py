"""Errands: tasks with options of their own, listed by a function."""

import itertools
import random
from typing import Any

import gymnasium as gym

from layerbench import EnvSpec, Task

PLACES, THINGS = ("bakery", "garage", "library", "market"), ("bread", "book", "tyre")
ACTIONS = ("take", "go to home", *(f"go to {place}" for place in PLACES))


class Errands(gym.Env[str, str]):
    """Fetch a thing from a place and bring it home."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.place, self.thing = (options or {}).get("errand", (PLACES[0], THINGS[0]))
        self.at, self.has = "home", False
        return f"Fetch the {self.thing} from the {self.place}.", self.info(success=False)

    def step(self, action: str):
        if action in ACTIONS[1:]:
            self.at = action.removeprefix("go to ")
        self.has = self.has or (action == "take" and self.at == self.place)
        success = self.has and self.at == "home"
        text = f"You are at: {self.at}." + " You have it." * self.has
        return text, float(success), success, False, self.info(success=success)

    def info(self, *, success: bool) -> dict[str, Any]:
        return {"success": success, "admissible_actions": ACTIONS, "task_type": self.thing}


def list_errands(*, split: str, count: int | None, seed: int) -> list[Task]:
    """List the errands of a split: those for bread are kept for the test."""
    every = itertools.product(PLACES, THINGS)
    errands = [errand for errand in every if (errand[1] == "bread") == (split == "test")]
    random.Random(seed).shuffle(errands)
    return [Task("/".join(e), options={"errand": list(e)}) for e in errands[:count]]


FEW = {"train.tasks": 8, "eval.tasks": 4}
SPEC = EnvSpec(env=Errands, max_turns=6, tasks=list_errands, settings=FEW)
