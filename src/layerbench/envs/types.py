"""Tasks, observations and step results: the interface between environments and agents."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """One start state and goal, shared by all episodes of a group.

    Attributes:
        task_id: Unique within the environment and its source of tasks.
        options: Argument of the environment's ``reset(options=...)``; selects exactly this task.
        seed: Argument of the environment's ``reset(seed=...)``.
    """

    task_id: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TaskSource:
    """Where the tasks of an environment come from: what they are, not where they lie.

    Attributes:
        kind: Name of the source.
        sha256: Hash of the files that the tasks are read from; empty where they are not read.
        by_split: Such a hash for each split that is on this machine, where splits have files of
            their own.
        missing: Splits that were asked for and are not on this machine.
        notes: What a user should know of the tasks, one line each.
    """

    kind: str
    sha256: str = ""
    by_split: Mapping[str, str] = field(default_factory=dict[str, str])
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name in records: sources of other files have other names.

        >>> TaskSource("alfworld-gen").name
        'alfworld-gen'
        """
        digest = hash_of_splits(self.by_split) if self.by_split else self.sha256
        return f"{self.kind}-{digest}" if digest else self.kind


def hash_of_splits(by_split: Mapping[str, str]) -> str:
    """Hash the hashes of several splits: equal for equal splits, in any order."""
    return hashlib.sha256(json.dumps(sorted(by_split.items())).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Observation:
    """The agent's view of the state before one action.

    Attributes:
        text: The environment's text, unformatted; prompts are built in ``agents``.
        admissible_actions: Every action the environment would accept now, in its own order;
            empty if the environment does not list them. An entry may be a template; see
            ``layerbench.envs.actions``.
        anchor: Key of the state for GiGPO's anchor groups (Feng et al. 2025, arXiv:2505.10978);
            equal anchors of one task count as the same state. Defaults to the text, see
            ``layerbench.envs.session``.
        choices: Actions for an agent that cannot write its own and has to choose; empty if these
            are the admissible actions.
    """

    text: str
    admissible_actions: tuple[str, ...] = ()
    anchor: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskStart:
    """Result of a reset.

    Attributes:
        observation: The first observation.
        task_id: Id of the task that was set up.
        task_type: Type of the task, for scores by type; empty if the environment has no types.
    """

    observation: Observation
    task_id: str
    task_type: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of one action.

    Attributes:
        observation: The next observation; the last one of the episode if it ended.
        reward: The environment's own reward for this step, unshaped.
        terminated: The task ended by its own rules, won or lost.
        truncated: The episode was cut off, for example by the step limit.
        success: The task's goal holds now.
        undecided: Whether it holds could not be found out in bounded work; it counts as not.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class EpisodeFailure:
    """An environment failed by itself: its episode is over, and counts as lost.

    It raised an error, or broke down its worker process each time that the episode was played. An
    episode whose worker was lost for another reason is played again instead; see
    ``layerbench.envs.pool``.

    Attributes:
        reason: The error in one line, for the record.
        trace: The traceback of the error, for a log; empty if there is none.
    """

    reason: str
    trace: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class WorkerLoss:
    """A worker process was killed, exited or did not answer; no fault of an episode as yet.

    Attributes:
        reason: How it was lost, in one line.
    """

    reason: str
