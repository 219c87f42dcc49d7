"""Bootstrap of success rates over tasks and training seeds, paired across selections.

Shape suffixes: K selections, R seeds, N tasks, S resamples.
"""

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.success import RESAMPLES

Scores = Mapping[int, Float[np.ndarray, " N"]]
"""One selection's success rates, in [0, 1]: by seed, then by task in the order of the task list."""

PRIOR_FREEDOM = 8
"""Most degrees of freedom that the other selections lend to the seed variance of one."""


@dataclass(frozen=True, slots=True)
class SeedVariance:
    """Mean squares of success rates, seeds by tasks; they bound the variance between seeds.

    Attributes:
        between: Mean square between seeds; it expects ``within`` + tasks * that variance.
        within: Mean square of the residual, which neither seed nor task explains.
        freedom: Degrees of freedom of ``between``; 0 where there is one seed.
    """

    between: float
    within: float
    freedom: int


class Resampler:
    """Draws success rates as other tasks and other training seeds might have given them.

    A bootstrap in two levels, with what few seeds need:

    - Tasks are drawn with replacement, once for all seeds and selections of a resample: every
      seed plays the same list, so tasks cross seeds instead of lying within them, and what makes
      a task easy cancels out of a difference. The luck of sampling is in this level.
    - Seeds are not drawn with replacement. Three seeds have ten such resamples, whose variance
      is a third too small and whose tails end where the seeds do, while the luck of sampling
      would be counted twice (Owen, 2007, "The pigeonhole bootstrap"). Instead each selection is
      moved by a normal deviate whose variance is itself drawn from what the mean squares allow,
      a generalized pivotal quantity (Weerahandi, 1993, JASA 88): t-like tails from few seeds.
    - A selection's mean square between seeds is averaged with that of the other selections, which
      count as ``PRIOR_FREEDOM`` degrees of freedom (moderated variance; Smyth, 2004): two degrees
      of freedom alone would make every interval useless, and the pool alone would trust that all
      selections are equally stable.

    The base model was not trained, so no seed moves it. ``bench/coverage.py`` measures how often
    the intervals hold the truth, beside those of plain bootstraps.

    Args:
        selections: Scores of all selections of a sweep, by name; the more there are, the better
            the variance between seeds is known.
        untrained: Names of the selections that no training seed moves.
        task_seed: Seed of the draws of tasks: equal where sweeps share a list of tasks, so that
            they are paired too.
    """

    def __init__(
        self,
        selections: Mapping[str, Scores],
        *,
        untrained: Sequence[str] = (),
        task_seed: int = 0,
    ) -> None:
        self._selections = selections
        self._task_seed = task_seed
        self._squares = {
            name: _mean_squares(np.stack(list(scores.values())))
            for name, scores in selections.items()
            if name not in untrained and scores
        }
        self._drawn: dict[tuple[str, tuple[int, ...]], Float[np.ndarray, " S"]] = {}
        self._over_tasks = self._draw_tasks()

    def rates(self, name: str, seeds: Sequence[int]) -> Float[np.ndarray, " S"]:
        """Draw one selection's mean success rate over some of its seeds.

        Draws of one ``Resampler`` are aligned: index s is the same resample in all of them.
        """
        key = (name, tuple(seeds))
        # Full training is compared with every selection, mostly over the same seeds.
        if key not in self._drawn:
            self._drawn[key] = self._draw(*key)
        return self._drawn[key]

    def knows_seeds(self) -> bool:
        """Tell whether any selection has two seeds, so that the variance between them is known."""
        return any(squares.freedom for squares in self._squares.values())

    def _draw_tasks(self) -> dict[tuple[str, tuple[int, ...]], Float[np.ndarray, " S"]]:
        """Resample tasks for all selections, over all seeds of each."""
        keys = [(name, tuple(scores)) for name, scores in self._selections.items() if scores]
        if not keys:
            return {}
        profiles_KN = np.stack([self._profile(*key) for key in keys])
        # One product reads the S x N weights once, not once for each selection.
        drawn_KS = profiles_KN @ task_weights(profiles_KN.shape[1], self._task_seed).T
        return dict(zip(keys, drawn_KS, strict=True))

    def _profile(self, name: str, seeds: Sequence[int]) -> Float[np.ndarray, " N"]:
        return np.mean([self._selections[name][seed] for seed in seeds], axis=0)

    def _draw(self, name: str, seeds: tuple[int, ...]) -> Float[np.ndarray, " S"]:
        profile_N = self._profile(name, seeds)
        drawn_S = self._over_tasks.get((name, seeds))
        if drawn_S is None:
            drawn_S = task_weights(len(profile_N), self._task_seed) @ profile_N
        if name not in self._squares:
            return drawn_S
        # Seeded by name and scores, so that neither two selections of a sweep nor selections of
        # the same name in two sweeps share their deviates; only draws of tasks are paired.
        scores = np.stack(list(self._selections[name].values())).tobytes()
        # Not hash(), which Python salts in every process: intervals would differ from run to run.
        rng = np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(scores)])
        variance_S = _variances(self._moderated(name), tasks=len(profile_N), rng=rng)
        drawn_S = drawn_S + rng.standard_normal(RESAMPLES) * np.sqrt(variance_S / len(seeds))
        # A normal deviate may leave the range of a rate.
        return np.clip(drawn_S, 0.0, 1.0)

    def _moderated(self, name: str) -> SeedVariance:
        # Without the selection's own mean squares, which would count twice in the average below.
        others = _average([s for other, s in self._squares.items() if other != name])
        prior = SeedVariance(others.between, others.within, min(others.freedom, PRIOR_FREEDOM))
        return _average([self._squares[name], prior])


# Few entries: the weights of 128 tasks take 10 MB.
@functools.lru_cache(maxsize=4)
def task_weights(tasks: int, seed: int) -> Float[np.ndarray, "S N"]:
    """Draw tasks with replacement: the share of each task in each resample."""
    rng = np.random.default_rng([seed, tasks])
    weights_SN = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=RESAMPLES) / tasks
    weights_SN.flags.writeable = False  # the cache hands the same array to all callers
    return weights_SN


def _mean_squares(rates_RN: Float[np.ndarray, "R N"]) -> SeedVariance:
    """Analyse the variance of a layout of seeds by tasks, without replication."""
    num_seeds, tasks = rates_RN.shape
    # A single task leaves the residual no degrees of freedom: tasks - 1 is a divisor below.
    if num_seeds == 1 or tasks == 1:
        return SeedVariance(0.0, 0.0, 0)
    by_seed_R = rates_RN.mean(axis=1) - rates_RN.mean()
    by_task_N = rates_RN.mean(axis=0) - rates_RN.mean()
    residual_RN = rates_RN - rates_RN.mean() - by_seed_R[:, None] - by_task_N
    freedom = num_seeds - 1
    return SeedVariance(
        between=float(tasks * np.square(by_seed_R).sum() / freedom),
        within=float(np.square(residual_RN).sum() / (freedom * (tasks - 1))),
        freedom=freedom,
    )


def _average(squares: Sequence[SeedVariance]) -> SeedVariance:
    """Average mean squares by their degrees of freedom."""
    freedom = sum(s.freedom for s in squares)
    if not freedom:
        return SeedVariance(0.0, 0.0, 0)
    return SeedVariance(
        between=sum(s.between * s.freedom for s in squares) / freedom,
        within=sum(s.within * s.freedom for s in squares) / freedom,
        freedom=freedom,
    )


def _variances(
    squares: SeedVariance, *, tasks: int, rng: np.random.Generator
) -> Float[np.ndarray, " S"]:
    """Draw variances between seeds that the mean squares allow; zeros if there is one seed."""
    if not squares.freedom:
        return np.zeros(RESAMPLES)
    between_S = squares.between * squares.freedom / rng.chisquare(squares.freedom, size=RESAMPLES)
    # Where seeds differ less than chance alone would have it, the estimate falls below 0.
    return np.maximum(0.0, between_S - squares.within) / tasks
