"""What difference between two layers a sweep can see, and what a given one would take.

Shape suffixes: R seeds, N tasks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.bootstrap import Scores
from layerbench.benchmarks.stats.contribution import LEVEL
from layerbench.benchmarks.stats.power import POWER


@dataclass(frozen=True, slots=True)
class Variances:
    """Variances of the difference of two layers' success, as squares of success rates.

    The difference of one seed on one task is the difference of the layers, plus one of the task,
    of the two trainings, and of the episodes.

    Attributes:
        task: Variance over tasks of what the two layers' success truly differs by.
        episode: Variance by the luck of the episodes of one task.
        training: Variance by the luck of one training of either layer.
    """

    task: float
    episode: float
    training: float

    def standard_error(self, *, seeds: int, tasks: int) -> float:
        """Give the standard error of the difference over some seeds and tasks."""
        variance = self.task / tasks + self.episode / (tasks * seeds) + self.training / seeds
        return math.sqrt(variance)

    def detectable(self, *, seeds: int, tasks: int, tests: int = 1) -> float:
        """Give the smallest difference of success that is told apart in 80 % of sweeps.

        Args:
            seeds: Number of seeds.
            tasks: Number of tasks.
            tests: Number of tests among which the level of 5 % is divided.
        """
        return _distance(tests) * self.standard_error(seeds=seeds, tasks=tasks)

    def tasks_for(self, difference: float, *, seeds: int, tests: int = 1) -> int | None:
        """Count the tasks that a difference of success takes; None if no number suffices."""
        room = (difference / _distance(tests)) ** 2 - self.training / seeds
        return _up((self.task + self.episode / seeds) / room) if room > 0 else None

    def seeds_for(self, difference: float, *, tasks: int, tests: int = 1) -> int | None:
        """Count the seeds that a difference of success takes; None if no number suffices."""
        room = (difference / _distance(tests)) ** 2 - self.task / tasks
        return _up((self.training + self.episode / tasks) / room) if room > 0 else None


PRIOR = Variances(task=0.015, episode=0.27, training=0.0048)
"""Of pairs of layers in three seeds on ALFWorld with permuted words, one episode a task
(``docs/study/four-domains/alfworld``)."""

PRIOR_GAIN = 0.39
"""Full training's gain there."""


def measured(selections: Mapping[str, Scores], *, prior: Variances = PRIOR) -> Variances | None:
    """Estimate the variances from the scores of trained selections, the mean over all pairs.

    Of two selections' differences, seeds by tasks, by the mean squares of a layout without
    replication (Searle, Casella and McCulloch, 1992, section 4.5); estimates below 0 are 0.

    Args:
        selections: Scores of the trained selections by name, on one list of tasks.
        prior: What one seed leaves open: the luck of training, and which part of the variance over
            tasks is the episodes'.

    Returns:
        The variances; None where there are no two selections with a seed in common.
    """
    pairs: list[Variances] = []
    for one, other in combinations(selections.values(), 2):
        shared = [seed for seed in one if seed in other]
        if shared:
            difference_RN = np.stack([one[seed] - other[seed] for seed in shared])
            pairs.append(_of_pair(difference_RN, prior))
    # A pair of more seeds tells all three; one of one seed would add nothing but the prior.
    return _mean(pairs) if pairs else None


def _of_pair(difference_RN: Float[np.ndarray, "R N"], prior: Variances) -> Variances:
    seeds, tasks = difference_RN.shape
    if tasks == 1:
        return prior
    by_task_N = difference_RN.mean(axis=0)
    between_tasks = float(by_task_N.var(ddof=1)) * seeds
    if seeds == 1:
        episode = between_tasks * prior.episode / (prior.episode + prior.task)
        return Variances(between_tasks - episode, episode, prior.training)
    by_seed_R = difference_RN.mean(axis=1)
    between_seeds = float(by_seed_R.var(ddof=1)) * tasks
    residual_RN = difference_RN - by_task_N - by_seed_R[:, None] + difference_RN.mean()
    episode = float(np.square(residual_RN).sum()) / ((seeds - 1) * (tasks - 1))
    return Variances((between_tasks - episode) / seeds, episode, (between_seeds - episode) / tasks)


def _mean(pairs: Sequence[Variances]) -> Variances:
    # Below 0 only after the mean: cutting each pair's estimate would bias it upwards.
    return Variances(
        *(max(0.0, float(np.mean([getattr(p, name) for p in pairs]))) for name in _NAMES)
    )


_NAMES = ("task", "episode", "training")


def _distance(tests: int) -> float:
    """Give the standard errors from 0 at which a difference is seen in 80 % of sweeps."""
    normal = NormalDist()
    return normal.inv_cdf(1 - LEVEL / tests / 2) + normal.inv_cdf(POWER)


def _up(number: float) -> int:
    # Rounded first: 8.000000001 tasks are 8.
    return math.ceil(round(number, 6))
