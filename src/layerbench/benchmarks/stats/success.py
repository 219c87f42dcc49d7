"""Success rates, their intervals and paired differences, as pure functions of counts.

Shape suffixes: N tasks, S resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000
"""Resamples behind every bootstrap interval."""

_CHUNK = 500  # resamples drawn at once: bounds memory for long task lists


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, ends included."""

    low: float
    high: float

    @property
    def is_point(self) -> bool:
        """Whether its ends are equal: equal resamples say nothing about other tasks."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Count:
    """Episodes pooled over tasks.

    Attributes:
        planned: Episodes asked for.
        failed: Episodes lost to a broken environment; they count as not won.
        successes: Episodes won.

    Raises:
        ValueError: The numbers contradict each other.
    """

    planned: int
    failed: int
    successes: int

    def __post_init__(self) -> None:
        if min(self.planned, self.failed, self.successes) < 0 or self.scored < self.successes:
            raise ValueError(
                f"{self.successes} successes and {self.failed} failed episodes "
                f"do not fit into {self.planned} planned"
            )

    @property
    def scored(self) -> int:
        """Episodes played to an end."""
        return self.planned - self.failed

    @property
    def rate(self) -> float:
        """Share of the planned episodes that were won; failed ones are losses.

        Raises:
            ValueError: There are no episodes, so there is no rate.
        """
        if self.planned == 0:
            raise ValueError("there are no episodes, so there is no success rate")
        return self.successes / self.planned


@dataclass(frozen=True, slots=True)
class PooledCount(Count):
    """Episodes pooled over tasks, several of a task perhaps.

    Attributes:
        independent: Number of independent episodes whose rate would be as well known; less than
            ``planned`` where episodes of one task end alike.
    """

    independent: float


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How the episodes of one task ended.

    Attributes:
        task_id: Id of the task.
        task_type: Kind of task, or empty.
        count: The task's episodes.
    """

    task_id: str
    task_type: str
    count: Count


@dataclass(frozen=True, slots=True)
class Difference:
    """A success rate after minus the rate before, on the same tasks.

    Attributes:
        difference: Rate after minus rate before.
        interval: Percentile bootstrap over tasks, 95 %.
        tasks: Number of tasks compared.
    """

    difference: float
    interval: Interval
    tasks: int

    @property
    def estimate(self) -> Estimate:
        """The difference and its interval alone."""
        return Estimate(self.difference, self.interval)

    @classmethod
    def of_draws(
        cls, difference: float, draws_S: Float[np.ndarray, " S"], *, tasks: int
    ) -> "Difference":
        """Take the interval from resamples of the difference."""
        # Interpolation is safe here: differences of rates are finite, unlike resamples of C.
        low, high = np.percentile(draws_S, [2.5, 97.5])
        return cls(difference, Interval(float(low), float(high)), tasks)


def interval_of(count: Count) -> Interval:
    """Bound the success rate of a count, in [0, 1], as ``success_interval`` does.

    Of a ``PooledCount`` by its independent episodes.

    Raises:
        ValueError: There are no episodes, so there is no rate.
    """
    episodes = count.independent if isinstance(count, PooledCount) else count.planned
    return success_interval(successes=count.rate * episodes, episodes=episodes)


def success_interval(
    *, successes: int | float, episodes: int | float, confidence: float = 0.95
) -> Interval:
    """Bound the success rate, in [0, 1], by Wilson's score interval (1927).

    >>> interval = success_interval(successes=42, episodes=100)
    >>> f"{interval.low:.2f}-{interval.high:.2f}"
    '0.33-0.52'

    Raises:
        ValueError: There are no episodes, so there is no rate.
    """
    if episodes == 0:
        raise ValueError("there are no episodes, so there is no success rate")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    rate = successes / episodes
    centre = (rate + z2 / (2 * episodes)) / (1 + z2 / episodes)
    spread = z2 * rate * (1 - rate) / episodes + (z2 / (2 * episodes)) ** 2
    half = spread**0.5 / (1 + z2 / episodes)
    # At 0 and n the bound equals the rate; rounding would put it a hair outside.
    return Interval(low=min(rate, max(0.0, centre - half)), high=max(rate, min(1.0, centre + half)))


def rates(outcomes: Sequence[TaskOutcome]) -> Float[np.ndarray, " N"]:
    """List the success rate of each task, in [0, 1]."""
    return np.array([outcome.count.rate for outcome in outcomes])


def pool(outcomes: Sequence[TaskOutcome]) -> Count:
    """Add up the episodes of all tasks; no tasks give a count of zero episodes."""
    return Count(
        planned=sum(outcome.count.planned for outcome in outcomes),
        failed=sum(outcome.count.failed for outcome in outcomes),
        successes=sum(outcome.count.successes for outcome in outcomes),
    )


def pooled(outcomes: Sequence[TaskOutcome]) -> PooledCount:
    """Add up episodes as ``pool`` does, and tell how many independent ones they stand for.

    By the design effect of clusters (Kish 1965, Survey Sampling), the tasks: the linearised
    variance of the rate, a ratio of sums over tasks, to that of as many independent episodes,
    kept within 1 and the mean number of episodes a task.

    >>> alike = [TaskOutcome(str(n), "", Count(4, 0, 4 * (n % 2))) for n in range(10)]
    >>> pooled(alike).planned, pooled(alike).independent
    (40, 10.0)
    """
    counts: dict[str, list[Count]] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.task_id, []).append(outcome.count)
    whole = pool(outcomes)
    if len(counts) in (0, whole.planned):
        return PooledCount(whole.planned, whole.failed, whole.successes, float(whole.planned))
    planned_N = np.array([sum(c.planned for c in of) for of in counts.values()], dtype=np.float64)
    won_N = np.array([sum(c.successes for c in of) for of in counts.values()], dtype=np.float64)
    most = whole.planned / len(counts)
    alone = whole.rate * (1 - whole.rate) * whole.planned
    if alone and len(counts) > 1:
        squares = float(((won_N - whole.rate * planned_N) ** 2).sum())
        effect = squares * len(counts) / (len(counts) - 1) / alone
    else:
        # All ended alike, which says nothing of how tasks differ.
        effect = most
    independent = whole.planned / min(most, max(1.0, effect))
    return PooledCount(whole.planned, whole.failed, whole.successes, independent)


def pooled_by_type(outcomes: Sequence[TaskOutcome]) -> Mapping[str, PooledCount]:
    """Pool the episodes of each kind of task, kinds in alphabetical order."""
    return {kind: pooled(of) for kind, of in _by_type(outcomes).items()}


def pool_by_type(outcomes: Sequence[TaskOutcome]) -> Mapping[str, Count]:
    """Add up the episodes of each kind of task, kinds in alphabetical order."""
    return {kind: pool(of) for kind, of in _by_type(outcomes).items()}


def _by_type(outcomes: Sequence[TaskOutcome]) -> Mapping[str, Sequence[TaskOutcome]]:
    kinds = sorted({outcome.task_type for outcome in outcomes})
    return {kind: [o for o in outcomes if o.task_type == kind] for kind in kinds}


def paired_difference(
    base: Sequence[TaskOutcome], final: Sequence[TaskOutcome], *, seed: int = 0
) -> Difference:
    """Compare two evaluations of the same tasks by a bootstrap that resamples tasks.

    Both sides of a task stay together, so that what makes a task easy or hard cancels out. The
    interval is the 2.5th to the 97.5th percentile of ``RESAMPLES`` resamples.

    Args:
        base: Outcomes before, one a task.
        final: Outcomes after, of the same tasks in the same order.
        seed: Seed of the resampling.

    Raises:
        ValueError: The tasks or their numbers of episodes differ, or there are none.
    """
    _check_paired(base, final)
    won_N = np.array([o.count.successes for o in base], dtype=np.float64)
    gain_N = np.array([o.count.successes for o in final], dtype=np.float64) - won_N
    episodes_N = np.array([o.count.planned for o in base], dtype=np.float64)
    # Pooled by episodes, like ``Count.rate``: the difference is that of the two printed rates.
    draws_S = _resampled(gain_N, episodes_N, seed=seed)
    return Difference.of_draws(float(gain_N.sum() / episodes_N.sum()), draws_S, tasks=len(base))


def paired_difference_of_rates(
    base: Sequence[TaskOutcome], final: Sequence[TaskOutcome], *, seed: int = 0
) -> Difference:
    """Compare as ``paired_difference``, where a task may have other numbers of episodes.

    Each task counts once, by its success rate: greedy episodes of a task are all the same, so that
    one was played, where of sampled ones there may be more.

    Raises:
        ValueError: The tasks differ, or there are none.
    """
    if not base or [o.task_id for o in base] != [o.task_id for o in final]:
        raise ValueError(
            f"a paired difference needs the same tasks in the same order, got {len(base)} and "
            f"{len(final)} tasks that differ"
        )
    gain_N = np.array([f.count.rate - b.count.rate for b, f in zip(base, final, strict=True)])
    draws_S = _resampled(gain_N, np.ones(len(base)), seed=seed)
    return Difference.of_draws(float(gain_N.mean()), draws_S, tasks=len(base))


def _check_paired(base: Sequence[TaskOutcome], final: Sequence[TaskOutcome]) -> None:
    before = [(o.task_id, o.count.planned) for o in base]
    after = [(o.task_id, o.count.planned) for o in final]
    if before != after:
        raise ValueError(
            "a paired difference needs the same tasks in the same order, "
            f"got {len(before)} and {len(after)} tasks that differ"
        )
    if not sum(planned for _, planned in before):
        raise ValueError("there are no episodes, so there is no difference")


def _resampled(
    gain_N: Float[np.ndarray, " N"], episodes_N: Float[np.ndarray, " N"], *, seed: int
) -> Float[np.ndarray, " S"]:
    """Draw tasks with replacement, and return the difference of rates in each resample."""
    rng = np.random.default_rng(seed)
    tasks = len(gain_N)
    chunks: list[Float[np.ndarray, " S"]] = []
    # The chunk divides RESAMPLES; a remainder would be lost.
    for _ in range(RESAMPLES // _CHUNK):
        drawn_SN = rng.integers(tasks, size=(_CHUNK, tasks))
        chunks.append(gain_N[drawn_SN].sum(axis=1) / episodes_N[drawn_SN].sum(axis=1))
    return np.concatenate(chunks)
