"""Plays one Gymnasium environment episode after episode, in this package's types."""

from collections.abc import Mapping
from typing import Any

from layerbench.envs import registry
from layerbench.envs.types import Observation, StepResult, Task, TaskStart


class Session:
    """Plays a Gymnasium environment; the only place that unpacks its tuples and its ``info``.

    ``info`` must hold ``success``; it may hold ``admissible_actions``, ``choices``, ``anchor``
    (default: the observation's text), ``task_id`` (default: the task's) and ``task_type`` (default:
    empty).
    """

    def __init__(self, env_id: str, options: Mapping[str, Any], max_turns: int) -> None:
        self._env = registry.make(env_id, options, max_turns=max_turns)
        self._playing = False

    def reset(self, task: Task) -> TaskStart:
        """Start an episode of a task; an unfinished one is dropped."""
        # Stays False if the reset fails: the environment is then in no state to be stepped.
        self._playing = False
        text, info = self._env.reset(seed=task.seed, options=dict(task.options))
        self._playing = True
        return TaskStart(
            observation=_observation(text, info),
            task_id=str(info.get("task_id", task.task_id)),
            task_type=str(info.get("task_type", "")),
        )

    def step(self, action: str) -> StepResult:
        """Play one action.

        Raises:
            RuntimeError: No episode is running: it has ended, or none was started.
        """
        if not self._playing:
            raise RuntimeError("no episode is under way: reset before the next step")
        text, reward, terminated, truncated, info = self._env.step(action)
        self._playing = not (terminated or truncated)
        # Environments may return ints or numpy scalars.
        return StepResult(
            observation=_observation(text, info),
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
            success=bool(info["success"]),
        )

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


def _observation(text: str, info: Mapping[str, Any]) -> Observation:
    return Observation(
        text=text,
        admissible_actions=tuple(info.get("admissible_actions", ())),
        anchor=str(info.get("anchor", text)),
        choices=tuple(info.get("choices", ())),
    )
