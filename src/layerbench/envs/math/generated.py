"""Generated problems as a Gymnasium environment: one problem, one answer."""

import random
from typing import Any

import gymnasium as gym

from layerbench.envs.actions import plain
from layerbench.envs.choices import check_known
from layerbench.envs.math import expressions, generator
from layerbench.envs.math.answers import is_equal
from layerbench.envs.reset_options import only_option
from layerbench.envs.spaces import AnyText
from layerbench.envs.turn_clock import TurnClock

TOOLS = ("none", "calculator")

ANSWERS = tuple(f"answer {number}" for number in range(expressions.LARGEST + 1))
"""Every answer of a generated problem, as actions."""

_MAX_CHARS = 100_000


class GeneratedMath(gym.Env[str, str]):
    r"""A problem of mathematics; the reward is 1.0 for an answer of the right value.

    ``reset(options={"task": id})`` selects a problem, such as ``chain-3/compute 7 + 5 - 3``;
    otherwise the seed draws one of the split ``train``.

    An answer is ``answer 42``, or any text that says it: ``\boxed{42}``, ``The answer is 42.``
    The first answer ends the episode. With the calculator, ``calculate 7 + 5`` puts 12 in the place
    of two neighbours in the problem, whatever sign is between them, and the next observation is
    what is left. ``info["choices"]`` lists all steps and answers; text of one's own is not listed.

    Its arguments are as in ``env.make``.

    Raises:
        UserError: A choice is unknown.
    """

    def __init__(
        self,
        *,
        levels: str = "first",
        signs: str = "plain",
        tools: str = "none",
        max_turns: int = 8,
    ) -> None:
        check_known("env.tools", tools, TOOLS)
        generator.levels_of(levels, signs=signs)
        self._levels, self._signs = levels, signs
        self._calculates = tools == "calculator"
        self._clock = TurnClock(max_turns)
        self.observation_space = AnyText(max_chars=_MAX_CHARS)
        self.action_space = AnyText(max_chars=_MAX_CHARS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Seed of the problem, if none is given.
            options: ``task``, the id of a problem.

        Raises:
            ValueError: The option is unknown, or the text is no problem.
        """
        super().reset(seed=seed)
        self._clock.reset()
        task = only_option(options, "task")
        if task is None:
            rng = random.Random(int(self.np_random.integers(1 << 62)))
            task = generator.draw(rng, split="train", levels=self._levels, signs=self._signs)
        self._task = str(task)
        self._level, _, self._left = self._task.partition("/")
        self._answer = expressions.solve(self._left, signs=self._signs).value
        self._clock.start()
        return self._observe(over=False, success=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        self._clock.tick()
        left = self._steps().get(plain(action))
        if left is not None:
            self._left = left
        # Anything but a step is an answer, if a wrong one; with the calculator, a mistyped step
        # costs a turn alone.
        over = left is None and not (self._calculates and plain(action).startswith("calculate"))
        success = over and is_equal(action, self._answer)
        truncated = self._clock.stop(terminated=over)
        text, info = self._observe(over=over, success=success)
        return text, float(success), over, truncated, info

    def _steps(self) -> dict[str, str]:
        return expressions.steps(self._left) if self._calculates else {}

    def _observe(self, *, over: bool, success: bool) -> tuple[str, dict[str, Any]]:
        text = f"{self._left} with calculator" if self._calculates else self._left
        if over:
            text = "right" if success else "wrong"
        return text, {
            "choices": () if over else (*self._steps(), *ANSWERS),
            "success": success,
            "task_id": self._task,
            "task_type": self._level,
        }
