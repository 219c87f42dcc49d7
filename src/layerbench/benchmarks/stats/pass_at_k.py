"""Scores of several samples a task: their mean, and pass@k, with intervals over tasks.

Shape suffixes: N tasks, S resamples.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.success import (
    RESAMPLES,
    Estimate,
    Interval,
    TaskOutcome,
)


def pass_at_k(*, samples: int, successes: int, k: int) -> float:
    """Estimate without bias the chance that one of k samples of a task succeeds.

    One minus the share of the subsets of k samples that have no success (Chen et al. 2021,
    arXiv:2107.03374, equation 1).

    >>> pass_at_k(samples=4, successes=1, k=2)
    0.5

    Raises:
        ValueError: k is below 1 or above the number of samples, or there are more successes.
    """
    if not 1 <= k <= samples or not 0 <= successes <= samples:
        raise ValueError(f"{successes} of {samples} samples do not give pass@{k}")
    return 1.0 - math.comb(samples - successes, k) / math.comb(samples, k)


def over_tasks(outcomes: Sequence[TaskOutcome], *, k: int, seed: int = 0) -> Estimate:
    """Average pass@k over tasks; for k of 1 it is the mean of all samples.

    The interval, 95 %, is a bootstrap that resamples tasks with all of their samples, since those
    of one task are not independent; failed episodes are no success.

    Args:
        outcomes: The outcomes, one a task.
        k: Number of samples, at most those of each task.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no tasks, or k is above the number of a task's samples.
    """
    if not outcomes:
        raise ValueError(f"there are no tasks, so there is no pass@{k}")
    counts = [outcome.count for outcome in outcomes]
    chances_N: Float[np.ndarray, " N"] = np.array(
        [pass_at_k(samples=c.planned, successes=c.successes, k=k) for c in counts]
    )
    rng = np.random.default_rng(seed)
    # One by one: bounds memory for long lists.
    draws_S: Float[np.ndarray, " S"] = np.array(
        [
            chances_N[rng.integers(len(chances_N), size=len(chances_N))].mean()
            for _ in range(RESAMPLES)
        ]
    )
    low, high = np.percentile(draws_S, [2.5, 97.5])
    return Estimate(float(chances_N.mean()), Interval(float(low), float(high)))


def ks(samples: int) -> list[int]:
    """List the k to report for a number of samples a task: powers of two, and that number.

    >>> ks(1), ks(4), ks(6)
    ([], [2, 4], [2, 4, 6])
    """
    powers = [2**n for n in range(1, samples.bit_length())]
    return sorted({k for k in (*powers, samples) if 1 < k <= samples})
