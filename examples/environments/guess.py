"""Guess a number: several turns, listed actions, an option."""

from typing import Any

import gymnasium as gym

from layerbench import EnvSpec


class Guess(gym.Env[str, str]):
    """Find a number that is only ever said to be lower or higher.

    Args:
        largest: Largest number.
    """

    def __init__(self, *, largest: int = 8) -> None:
        self.numbers = range(1, largest + 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.number = int(self.np_random.choice(self.numbers))
        return f"Guess a number from 1 to {len(self.numbers)}.", self.info(success=False)

    def step(self, action: str):
        guess = int(action) if action in map(str, self.numbers) else 0
        success = guess == self.number
        text = "Right." if success else "Lower." if guess > self.number else "Higher."
        return text, float(success), success, False, self.info(success=success)

    def info(self, *, success: bool) -> dict[str, Any]:
        return {"success": success, "admissible_actions": [str(n) for n in self.numbers]}


SPEC = EnvSpec(env=Guess, max_turns=4, rules="Guess the number in as few turns as you can.")
