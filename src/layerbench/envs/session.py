"""Plays one Gymnasium environment episode after episode, in this package's types."""

from collections.abc import Mapping
from typing import Any

from layerbench.envs import contract, failures, references, registry
from layerbench.envs.types import StepResult, Task, TaskStart


class Session:
    """Plays a Gymnasium environment, and checks that it keeps to the contract.

    ``info`` must hold ``success``, unless the SPEC has ``success_at``; it may hold
    ``admissible_actions``, ``choices``, ``anchor`` (default: the observation's text), ``task_id``
    (the task's), ``task_type`` (default: empty) and ``undecided`` (default: False).

    Args:
        env: What finds the environment: see ``registry.find``.
        options: Arguments of its constructor.
        max_turns: Actions after which an episode is truncated.
    """

    def __init__(self, env: str, options: Mapping[str, Any], max_turns: int) -> None:
        loaded = references.load(env)
        self._name = loaded.name
        self._success_at = loaded.spec.success_at
        self._env = registry.make(env, options, max_turns=max_turns)
        self._total = 0.0
        self._task_id = ""
        self._turns = 0
        self._playing = False

    def reset(self, task: Task) -> TaskStart:
        """Start an episode of a task; an unfinished one is dropped.

        Raises:
            ContractError: The environment does not keep to the contract.
        """
        # Stays False if the reset fails: the environment is then in no state to be stepped.
        self._playing = False
        returned = self._env.reset(seed=task.seed, options=dict(task.options))
        start = contract.start_of(returned, task, env=self._name)
        self._task_id, self._turns, self._playing = task.task_id, 0, True
        self._total = 0.0
        return start

    def step(self, action: str) -> StepResult:
        """Play one action.

        Raises:
            RuntimeError: No episode is running: it has ended, or none was started.
            ContractError: The environment does not keep to the contract.
        """
        if not self._playing:
            raise RuntimeError("no episode is under way: reset before the next step")
        # Stays False if the step fails, as above.
        self._playing = False
        self._turns += 1
        place = contract.Place(self._name, self._task_id, self._turns, action)
        try:
            returned: object = self._env.step(action)
        except (TypeError, ValueError) as error:
            # Its wrappers take what a step returned apart, before anything can be checked here.
            if failures.is_raised_by(error, "gymnasium.wrappers"):
                place.refuse(
                    f"step returned no observation, reward, terminated, truncated, info: {error}"
                )
            raise
        result = contract.result_of(returned, place, success_at=self._success_at, total=self._total)
        self._total += result.reward
        self._playing = not (result.terminated or result.truncated)
        return result

    def prepare(self, task: Task) -> None:
        """Let the environment load what the task needs ahead of time, if it can.

        Such an environment has a method ``prepare(options)``. Do not call this during an episode.
        """
        prepare = getattr(self._env.unwrapped, "prepare", None)
        if prepare is not None:
            prepare(dict(task.options))

    def close(self) -> None:
        """Close the environment."""
        self._playing = False
        self._env.close()
