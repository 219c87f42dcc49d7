"""A tool: the agent may call a calculator before it answers, both in free text."""

import re
from typing import Any

import gymnasium as gym

from layerbench import EnvSpec

CALL = re.compile(r"calculate (\d{1,6}) \* (\d{1,6})")


class Calculator(gym.Env[str, str]):
    """A product that is hard to work out in one's head, and a tool that can."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        left, right = map(int, self.np_random.integers(100, 1000, size=2))
        self.answer = str(left * right)
        return f"What is {left} * {right}?", {"success": False}

    def step(self, action: str):
        if call := CALL.fullmatch(action.strip()):
            return str(int(call[1]) * int(call[2])), 0.0, False, False, {"success": False}
        answered = re.fullmatch(r"answer (\d+)", action.strip())
        if not answered:
            return "Nothing happens.", 0.0, False, False, {"success": False}
        success = answered[1] == self.answer
        return "Thank you.", float(success), True, False, {"success": success}


SPEC = EnvSpec(
    env=Calculator,
    max_turns=4,
    rules=(
        "Work out a product. The action `calculate 12 * 34` calls a calculator, whose result you "
        "are told; the action `answer 408` ends the episode."
    ),
    settings={
        "agent.action_mode": "generate",
        "agent.context_mode": "window",
        "agent.max_response_tokens": 64,
    },
)
