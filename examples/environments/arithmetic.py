"""Sums: one turn, free text, a task type for scores by kind."""

from typing import Any

import gymnasium as gym

from layerbench import EnvSpec


class Sums(gym.Env[str, str]):
    """Add or subtract two numbers; the answer is free text.

    Args:
        digits: Number of digits of the numbers.
    """

    def __init__(self, *, digits: int = 2) -> None:
        self.largest = 10**digits

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        left, right = map(int, self.np_random.integers(0, self.largest, size=2))
        adds = bool(self.np_random.integers(2))
        self.answer = str(left + right if adds else left - right)
        info = {"success": False, "task_type": "sum" if adds else "difference"}
        return f"What is {left} {'+' if adds else '-'} {right}?", info

    def step(self, action: str):
        success = action.strip() == self.answer
        return f"It is {self.answer}.", float(success), True, False, {"success": success}


SPEC = EnvSpec(
    env=Sums,
    max_turns=1,
    rules="Answer with the number alone.",
    # No actions are listed, so the model writes its answer.
    settings={
        "agent.action_mode": "generate",
        "agent.context_mode": "window",
        "agent.max_response_tokens": 64,
    },
)
