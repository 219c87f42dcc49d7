"""Published problems as a Gymnasium environment: one action, the program."""

from typing import Any

import gymnasium as gym

from layerbench.envs.code.problem_sets import ProblemSet, problem_set
from layerbench.envs.code.sandbox.guests import level_in_force, pool_of
from layerbench.envs.code.sandbox.verdicts import Verdict, count, judge
from layerbench.envs.reset_options import only_option
from layerbench.envs.spaces import AnyText
from layerbench.envs.turn_clock import TurnClock

_REASONS = {
    "": "All {total} tests pass.",
    "wrong": "Test {next} of {total} gives a wrong answer.",
    "time": "Test {next} of {total} takes too long.",
    "output": "Test {next} of {total} gives too much output.",
}


class ProblemEnv(gym.Env[str, str]):
    """Write a program for a published problem; the reward is 1.0 if all its tests pass.

    A task is named ``SPLIT/PROBLEM``; ``reset(options={"task": ...})`` picks one, otherwise the
    seed does. The program stands in a fenced block, or is the whole action; it runs in a sandbox,
    whose level ``info["sandbox"]`` says.

    Args:
        data: As in ``env.make``.
        test_data: Likewise; empty for none.
        sandbox: The weakest level that is allowed.
        max_turns: Actions after which an episode is truncated; the first one ends it anyway.

    Raises:
        UserError: The files cannot be used, or no level that is allowed works here.
    """

    def __init__(self, *, data: str, test_data: str = "", sandbox: str, max_turns: int = 1) -> None:
        self._level = level_in_force(sandbox)
        self._data, self._test_data = data, test_data
        self._clock = TurnClock(max_turns)
        self.observation_space = AnyText(max_chars=1_000_000)
        self.action_space = AnyText(max_chars=1_000_000)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Seed of the problem, if none is given; it is one of the split ``train``.
            options: ``task``, the name of a task.

        Raises:
            ValueError: The option or the problem is unknown.
        """
        super().reset(seed=seed)
        self._clock.reset()
        name = only_option(options, "task")
        if name is None:
            known = sorted(self._problems("train").packed)
            name = f"train/{known[int(self.np_random.integers(len(known)))]}"
        self._name = str(name)
        split, _, problem = self._name.partition("/")
        self._problem = self._problems(split).problem(problem)
        self._clock.start()
        return self._problem.text, self._info(Verdict(0, count(self._problem.tests)))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Run the program; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended, or no sandbox can be started any more.
        """
        self._clock.tick()
        verdict = judge(pool_of(self._level), self._problem.program(action), self._problem.tests)
        self._clock.stop(terminated=True)
        says = _REASONS.get(verdict.reason, "Test {next} of {total} ends in an error.")
        text = says.format(next=verdict.passed + 1, total=verdict.total)
        return text, float(verdict.is_right), True, False, self._info(verdict)

    def _problems(self, split: str) -> ProblemSet:
        return problem_set(self._data, split, self._test_data)

    def _info(self, verdict: Verdict) -> dict[str, Any]:
        return {
            "success": verdict.is_right,
            "undecided": verdict.is_undecided,
            "tests_passed": verdict.passed,
            "reason": verdict.reason,
            "sandbox": self._level,
            "task_id": self._name,
            "task_type": self._problem.task_type,
            "anchor": self._name,
        }
