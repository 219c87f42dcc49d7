"""What an environment hands to an agent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """One start state and goal: what every episode of a group shares.

    Attributes:
        task_id: Unique within the environment and its source of tasks.
        options: Handed to the environment's ``reset(options=...)``; selects exactly this task.
        seed: Handed to the environment's ``reset(seed=...)``.
    """

    task_id: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """What the agent sees before one action.

    Attributes:
        text: The environment's own words, unformatted; prompts are built in ``agents``.
        admissible_actions: Every action the environment would accept now, in its own order;
            empty if the environment does not list them. An entry may be a template, which
            stands for many; see ``layerbench.envs.actions``.
        anchor: Key of the state for GiGPO's anchor groups (Feng et al. 2025, arXiv:2505.10978);
            equal anchors of one task count as the same state. Environments that give none get
            the text.
        choices: What an agent that cannot write its own actions has to choose from; empty if
            that is the admissible actions.
    """

    text: str
    admissible_actions: tuple[str, ...] = ()
    anchor: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskStart:
    """What a reset led to.

    Attributes:
        observation: What the agent sees first.
        task_id: Which task was set up.
        task_type: The kind of task, for scores by type; empty if the environment has no kinds.
    """

    observation: Observation
    task_id: str
    task_type: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one action led to.

    Attributes:
        observation: What the agent sees next; the last words of the episode if it ended.
        reward: The environment's own reward for this step, unshaped.
        terminated: The task ended by its own rules, won or lost.
        truncated: The episode was cut off, for example by the step limit.
        success: The task's goal holds now.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    success: bool


@dataclass(frozen=True, slots=True)
class EpisodeFailure:
    """An environment broke down: its episode is over, and counts as lost.

    Attributes:
        reason: One line for the record.
    """

    reason: str
