"""Riddles: tasks by name, in splits that share none."""

from typing import Any

import gymnasium as gym

from layerbench import EnvSpec

RIDDLES = {
    "clock": "It has hands but cannot clap.",
    "river": "It has a mouth but never eats.",
    "needle": "It has an eye but cannot see.",
    "comb": "It has teeth but cannot bite.",
    "bottle": "It has a neck but no head.",
    "table": "It has legs but cannot walk.",
    "shoe": "It has a tongue but cannot talk.",
    "corn": "It has ears but cannot hear.",
}
TRAIN, TEST = list(RIDDLES)[:4], list(RIDDLES)[4:]


class Riddles(gym.Env[str, str]):
    """Name what a riddle is about, with two tries."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        # A task that has a name is asked for by it.
        self.word = (options or {}).get("task") or str(self.np_random.choice(TRAIN))
        return RIDDLES[self.word], self.info(success=False)

    def step(self, action: str):
        success = action == self.word
        return str(success), float(success), success, False, self.info(success=success)

    def info(self, *, success: bool) -> dict[str, Any]:
        return {"success": success, "admissible_actions": sorted(RIDDLES)}


FEW = {"train.tasks": 4, "train.tasks_per_iteration": 4, "eval.tasks": 4}
SPEC = EnvSpec(env=Riddles, max_turns=2, splits={"train": TRAIN, "test": TEST}, settings=FEW)
