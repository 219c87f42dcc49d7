"""Published problems as a Gymnasium environment: one problem, one answer, verified."""

from typing import Any

import gymnasium as gym

from layerbench.envs.math import datasets
from layerbench.envs.math.answers import extract
from layerbench.envs.math.datasets import Named
from layerbench.envs.math.verifier import Verdict, verify
from layerbench.envs.reset_options import only_option
from layerbench.envs.spaces import AnyText
from layerbench.envs.turn_clock import TurnClock

_MAX_CHARS = 1_000_000


class PublishedMath(gym.Env[str, str]):
    """A published problem; the reward is 1.0 for an answer that equals one of its answers.

    ``reset(options={"task": id})`` selects a problem by the hash of its text; otherwise the seed
    draws one of the split ``train``. The first action ends the episode: text that says an answer,
    as in ``answers.extract``. ``info["undecided"]`` tells that it could not be compared in bounded
    work, which counts as wrong.

    Args:
        named: The data.
        max_turns: Actions after which an episode is truncated.

    Raises:
        UserError: The data cannot be used.
    """

    def __init__(self, named: Named, *, max_turns: int = 1) -> None:
        self._data = datasets.load(named)
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
            ValueError: The option is unknown, or there is no such problem.
        """
        super().reset(seed=seed)
        self._clock.reset()
        task = only_option(options, "task")
        if task is None:
            keys = sorted(self._data.splits["train"])
            task = keys[int(self.np_random.integers(len(keys)))]
        self._problem = self._data.problem(str(task))
        self._clock.start()
        return self._problem.question, self._info(Verdict.WRONG)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        self._clock.tick()
        verdict = verify(self._problem.answers, extract(action))
        self._clock.stop(terminated=True)
        reward = float(verdict is Verdict.RIGHT)
        return verdict.value, reward, True, False, self._info(verdict)

    def _info(self, verdict: Verdict) -> dict[str, Any]:
        return {
            "success": verdict is Verdict.RIGHT,
            "undecided": verdict is Verdict.UNDECIDED,
            "task_id": self._problem.key,
            "task_type": self._problem.kind,
        }
