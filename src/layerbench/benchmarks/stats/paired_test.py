"""Tests and intervals of the mean difference between two policies on the same tasks.

Shape suffixes: N tasks, P values of a sum.
"""

import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

from layerbench.benchmarks.stats.success import Interval

LARGEST_EXACT = 20_000
"""Sum of the absolute differences, in episodes, up to which the sign-flip test is exact."""

FLIPS = 99_999
"""Random flips of all signs, where it is not."""


class Method(StrEnum):
    """How a difference was tested against 0."""

    SIGN = "exact sign test on tasks (McNemar)"
    FLIP = "exact sign-flip test over tasks"
    RANDOM_FLIP = "sign-flip test over tasks, 99,999 random flips"
    RESAMPLES = "resamples of training seeds and tasks"


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A two-sided test of no difference.

    Attributes:
        p_value: The p-value.
        method: How it was computed.
    """

    p_value: float
    method: Method


def sign_flip_test(differences_N: Int[np.ndarray, " N"]) -> PairedTest:
    """Test whether two policies are alike on every task, by flipping the differences' signs.

    Where they are, each task's difference is as likely to be d as -d (Fisher, 1935, section 21).
    The p-value is the share of all 2**N flips whose sum is at least as far from 0. With one
    episode a task, this is the sign test on the tasks that only one policy wins: McNemar's exact
    test (1947).

    Args:
        differences_N: Episodes that B won minus those that A won, by task, of equally many.
    """
    sizes = Counter(int(size) for size in np.abs(differences_N) if size)
    seen = abs(int(differences_N.sum()))
    total = sum(size * count for size, count in sizes.items())
    if len(sizes) > 1 and total > LARGEST_EXACT:
        return PairedTest(_random_flips(sizes, seen), Method.RANDOM_FLIP)
    # Index i is the chance that i is the sum of what has the sign +.
    chances_P = np.ones(1)
    for size, count in sorted(sizes.items()):
        spread_P = np.zeros(size * count + 1)
        spread_P[::size] = _fair_coins(count)
        chances_P = np.convolve(chances_P, spread_P)
    sums_P = np.abs(2 * np.arange(total + 1) - total)
    p_value = min(1.0, float(chances_P[sums_P >= seen].sum()))
    return PairedTest(p_value, Method.SIGN if set(sizes) <= {1} else Method.FLIP)


def mean_interval(differences_N: Float[np.ndarray, " N"], *, confidence: float = 0.95) -> Interval:
    """Bound the mean of differences of success rates, each in [-1, 1], over other such tasks.

    Wald's interval with two tasks more: one that neither policy, or both, win, one half of which
    B alone wins and the other A alone (Agresti and Min, 2005, "Simple improved confidence
    intervals for comparing matched proportions"; their tasks have one episode). It has a width
    where all tasks agree, where resamples of the tasks would have none.

    Raises:
        ValueError: There are no tasks.
    """
    if not len(differences_N):
        raise ValueError("there are no tasks, so there is no difference")
    tasks = len(differences_N) + 2
    mean = float(differences_N.sum()) / tasks
    variance = (float(np.square(differences_N).sum()) + 1) / tasks - mean**2
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance / tasks)
    # The mean is drawn to 0 by the two tasks: of few tasks that all agree it could be left out.
    seen = float(differences_N.mean())
    return Interval(
        low=max(-1.0, min(seen, mean - half)),
        high=min(1.0, max(seen, mean + half)),
    )


def _fair_coins(count: int) -> Float[np.ndarray, " P"]:
    """Give the chances of 0 to ``count`` heads."""
    log_factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, count + 1)))))
    logs_P = log_factorials[-1] - log_factorials - log_factorials[::-1] - count * math.log(2)
    return np.exp(logs_P)


def _random_flips(sizes: Counter[int], seen: int) -> float:
    rng = np.random.default_rng(0)
    sums = np.zeros(FLIPS, np.int64)
    for size, count in sorted(sizes.items()):
        sums += size * (2 * rng.binomial(count, 0.5, FLIPS) - count)
    # Plus 1 in both: the signs as they are belong to the flips.
    return (int(np.count_nonzero(np.abs(sums) >= seen)) + 1) / (FLIPS + 1)
