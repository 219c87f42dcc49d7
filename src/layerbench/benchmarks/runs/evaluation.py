"""The evaluation of a policy on a fixed list of tasks."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from layerbench.agents.rollout import EpisodeRequest
from layerbench.agents.types import StopReason, Trajectory, Turn
from layerbench.benchmarks.records.record_sections import Evaluation, EvaluationKey
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool, pool_by_type
from layerbench.envs.types import Task


def requests(
    tasks: Sequence[Task], *, episodes_per_task: int, seeds: tuple[int, int]
) -> list[EpisodeRequest]:
    """List the episodes of an evaluation: task by task, each with a sampling seed of its own.

    A sampling seed depends on the two seeds and the position in the list only: policies of one
    training seed share their random numbers, and those of another training seed are independent.

    Args:
        tasks: The fixed list.
        episodes_per_task: Number of episodes of each task.
        seeds: Seed of the evaluation, and seed of training.
    """
    return [
        EpisodeRequest(task, _episode_seed(*seeds, index, episode))
        for index, task in enumerate(tasks)
        for episode in range(episodes_per_task)
    ]


def summarise(
    trajectories: Sequence[Trajectory],
    tasks: Sequence[Task],
    key: EvaluationKey,
    *,
    seconds: float,
) -> Evaluation:
    """Summarise the trajectories of ``requests``, in that order.

    Args:
        trajectories: Episodes, equally many of each task.
        tasks: The fixed list.
        key: Phase, split and temperature.
        seconds: Wall time of the evaluation.
    """
    per_task = len(trajectories) // len(tasks)
    assert len(trajectories) == per_task * len(tasks), "an episode is missing"
    outcomes = tuple(
        _outcome(task, trajectories[index * per_task : (index + 1) * per_task])
        for index, task in enumerate(tasks)
    )
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    return Evaluation(
        phase=key.phase,
        split=key.split,
        temperature=key.temperature,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        stops=dict(sorted(Counter(str(episode.stop) for episode in trajectories).items())),
        outcomes=outcomes,
        mean_turns=len(turns) / len(trajectories),
        invalid_share=sum(not turn.valid for turn in turns) / max(len(turns), 1),
        tokens=_tokens(turns),
        seconds=seconds,
        mean_return=sum(map(_return, trajectories)) / len(trajectories),
        replayed=sum(episode.replayed for episode in trajectories) or None,
        undecided=sum(episode.undecided for episode in trajectories) or None,
    )


def _return(episode: Trajectory) -> float:
    # A breakdown is a loss, whatever was earned before it.
    return 0.0 if episode.stop is StopReason.ERROR else sum(turn.reward for turn in episode.turns)


def _episode_seed(*path: int) -> int:
    # Hashed, not added: with sums, episodes of neighbouring seeds would share their random numbers.
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _outcome(task: Task, episodes: Sequence[Trajectory]) -> TaskOutcome:
    # Empty where the environment broke down at its reset, before it gave the type.
    task_types = [episode.task_type for episode in episodes if episode.task_type]
    return TaskOutcome(
        task_id=task.task_id,
        task_type=task_types[0] if task_types else "",
        count=Count(
            planned=len(episodes),
            failed=sum(episode.stop is StopReason.ERROR for episode in episodes),
            successes=sum(
                episode.success and episode.stop is not StopReason.ERROR for episode in episodes
            ),
        ),
    )


def _tokens(turns: Sequence[Turn]) -> int | None:
    """Count the sampled tokens; None where they are unknown, as for an endpoint."""
    lengths = [len(turn.response.token_ids) for turn in turns]
    return sum(lengths) if all(lengths) else None
