"""A bandit: reward in every turn and no goal, so that a return counts as success."""

from typing import Any

import gymnasium as gym

from layerbench import EnvSpec

ARMS = ("amber", "blue", "coral")


class Bandit(gym.Env[str, str]):
    """Three arms of unknown probability; each pull pays 1 or nothing."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.best = int(self.np_random.integers(len(ARMS)))
        self.paid: list[str] = []
        return "Three arms: amber, blue and coral.", self.info()

    def step(self, action: str):
        chance = 0.9 if action == ARMS[self.best] else 0.2
        reward = float(self.np_random.random() < chance)
        self.paid.append(f"{action}: {reward:.0f}")
        return "Paid 1." if reward else "Paid nothing.", reward, False, False, self.info()

    def info(self) -> dict[str, Any]:
        # The anchor is the state for GiGPO: the text alone does not tell what is known by now.
        return {"admissible_actions": ARMS, "anchor": ", ".join(self.paid) or "start"}


SPEC = EnvSpec(
    env=Bandit,
    max_turns=6,
    success_at=4.0,  # Four of six pulls paid.
    rules="Each turn, pull one arm. Find the one that pays most often, and pull it.",
)
