"""The smallest difference that a comparison would have seen, in 80 % of its repetitions at 5 %."""

import functools
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from layerbench.benchmarks.stats.contribution import LEVEL

POWER = 0.8
"""Chance of a verdict that a design is asked for."""

# Beyond so many standard deviations of the number of discordant tasks nothing is left.
_FAR = 9.0
_STEPS = 25  # halvings of [0, 1]


def seen_by_sign_test(discordant: float, *, tasks: int) -> float | None:
    """Find the smallest difference of success rates that the exact sign test would have seen.

    The chance is exact, not normal: of few tasks the test has few p-values.

    Args:
        discordant: Share of the tasks that one policy alone won. A difference larger than that
            needs more of them, and so many are then assumed.
        tasks: Number of tasks, one episode each.

    Returns:
        The difference, in (0, 1]; None where even 1 would not have been seen often enough.
    """
    if _power_of_sign_test(1.0, discordant, tasks) < POWER:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _power_of_sign_test(middle, discordant, tasks) < POWER:
            low = middle
        else:
            high = middle
    return high


def seen_by_interval(half_width: float) -> float | None:
    """Find the smallest difference that an interval of this half width would have seen.

    It is seen where the interval leaves out 0: the estimate must lie half a width from it, which
    in 80 % of repetitions is where the difference lies 0.84 standard errors further (Cohen, 1988).

    Args:
        half_width: Half the width of the 95 % interval; its standard error is taken as for a
            normal one, which for few seeds errs towards too large a difference.

    Returns:
        The difference; None where it would be more than 1.
    """
    normal = NormalDist()
    factor = 1 + normal.inv_cdf(POWER) / normal.inv_cdf(1 - LEVEL / 2)
    seen = factor * half_width
    return seen if seen <= 1 else None


def _power_of_sign_test(difference: float, discordant: float, tasks: int) -> float:
    share = min(1.0, max(discordant, difference))
    mean, sd = tasks * share, (tasks * share * (1 - share)) ** 0.5
    counts = np.arange(max(0, int(mean - _FAR * sd)), min(tasks, int(mean + _FAR * sd) + 1) + 1)
    chances = _binomial(counts, tasks, share)
    critical = _critical(tasks)[counts]
    wins = (1 + difference / share) / 2 if share else 0.5
    # Few enough of either kind; where even none is too many (-1), the chance is 0.
    seen = [
        np.where(critical < 0, 0.0, special.bdtr(np.maximum(critical, 0), counts, chance))
        for chance in (wins, 1 - wins)
    ]
    return float((chances * (seen[0] + seen[1])).sum())


@functools.lru_cache(maxsize=16)
def _critical(tasks: int) -> Int[np.ndarray, " _n"]:
    """Give, for 0 to ``tasks`` discordant ones, how many the worse policy may have won at most.

    Where the other is clearly better for none, it is -1.
    """
    critical = np.full(tasks + 1, -1)
    current = -1
    # It grows with the number of discordant tasks, by at most one for each.
    for count in range(tasks + 1):
        if 2 * special.bdtr(current + 1, count, 0.5) <= LEVEL:
            current += 1
        critical[count] = current
    return critical


def _binomial(counts: Int[np.ndarray, " _n"], tasks: int, share: float) -> Float[np.ndarray, " _n"]:
    logs = (
        special.gammaln(tasks + 1)
        - special.gammaln(counts + 1)
        - special.gammaln(tasks - counts + 1)
    )
    return np.exp(logs + special.xlogy(counts, share) + special.xlog1py(tasks - counts, -share))
