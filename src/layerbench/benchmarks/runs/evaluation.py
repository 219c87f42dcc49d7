"""Scoring a policy on a fixed list of tasks."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from layerbench.agents.rollout import EpisodeRequest
from layerbench.agents.types import StopReason, Trajectory, Turn
from layerbench.benchmarks.records.run_record import Evaluation
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool, pool_by_type
from layerbench.envs.types import Task


def requests(
    tasks: Sequence[Task], *, episodes_per_task: int, seeds: tuple[int, int]
) -> list[EpisodeRequest]:
    """Ask for the episodes of an evaluation: task by task, each with a seed of its own.

    The seeds follow from the two given and the place in the list alone: two policies of one
    training seed answer with the same luck, and those of another seed are a fresh sample.

    Args:
        tasks: The fixed list.
        episodes_per_task: Episodes of each.
        seeds: The evaluation's, and that of training.
    """
    return [
        EpisodeRequest(task, _episode_seed(*seeds, place, episode))
        for place, task in enumerate(tasks)
        for episode in range(episodes_per_task)
    ]


def summarise(
    trajectories: Sequence[Trajectory],
    tasks: Sequence[Task],
    *,
    phase: str,
    split: str,
    temperature: float,
    seconds: float,
) -> Evaluation:
    """Count what the episodes of ``requests`` came to, played in that order."""
    each = len(trajectories) // len(tasks)
    assert len(trajectories) == each * len(tasks), "an episode is missing"
    outcomes = tuple(
        _outcome(task, trajectories[place * each : (place + 1) * each])
        for place, task in enumerate(tasks)
    )
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    return Evaluation(
        phase=phase,
        split=split,
        temperature=temperature,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        stops=_stops(trajectories),
        outcomes=outcomes,
        mean_turns=len(turns) / len(trajectories),
        invalid_share=sum(not turn.valid for turn in turns) / max(len(turns), 1),
        tokens=_tokens(turns),
        seconds=seconds,
        mean_return=sum(map(_return, trajectories)) / len(trajectories),
    )


def _return(episode: Trajectory) -> float:
    return 0.0 if episode.stop is StopReason.ERROR else sum(turn.reward for turn in episode.turns)


def _episode_seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _outcome(task: Task, episodes: Sequence[Trajectory]) -> TaskOutcome:
    # An environment that broke at its reset could not say what kind of task it was.
    kinds = [episode.task_type for episode in episodes if episode.task_type]
    return TaskOutcome(
        task_id=task.task_id,
        task_type=kinds[0] if kinds else "",
        count=Count(
            planned=len(episodes),
            failed=sum(episode.stop is StopReason.ERROR for episode in episodes),
            successes=sum(
                episode.success and episode.stop is not StopReason.ERROR for episode in episodes
            ),
        ),
    )


def _tokens(turns: Sequence[Turn]) -> int | None:
    """Count the sampled tokens; None where they are not known, as those of an endpoint."""
    lengths = [len(turn.response.token_ids) for turn in turns]
    return sum(lengths) if all(lengths) else None


def _stops(trajectories: Sequence[Trajectory]) -> Mapping[str, int]:
    return dict(sorted(Counter(str(trajectory.stop) for trajectory in trajectories).items()))
