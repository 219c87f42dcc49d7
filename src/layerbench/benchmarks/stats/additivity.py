"""Do the gains of layers that were trained apart add up? Pure functions of counts.

Shape suffixes: N tasks, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.bootstrap import task_weights
from layerbench.benchmarks.stats.success import Difference, TaskOutcome

Scored = tuple[Sequence[TaskOutcome], Sequence[TaskOutcome]]
"""Outcomes before and after training, task by task."""


@dataclass(frozen=True, slots=True)
class Addition:
    """The gains of the parts against that of all of them in one model.

    Attributes:
        total: Sum of the parts' gains in success rate.
        surplus: Gain of the combined model less that sum.
    """

    total: Difference
    surplus: Difference

    @property
    def verdict(self) -> str:
        """Say what the interval of the surplus allows to say."""
        if self.surplus.interval.low > 0.0:
            return "together they gain more than the sum of their gains"
        if self.surplus.interval.high < 0.0:
            return "together they gain less than the sum of their gains"
        return "no departure from the sum of their gains is seen"


def add_up(parts: Sequence[Scored], combined: Scored) -> Addition:
    """Compare the gain of a combined model with the sum of its parts' gains.

    Tasks are resampled with replacement, the same for base, parts and combined model; percentile
    intervals, 95 %. What training again would move is not in them: the parts are what they are.

    Args:
        parts: Each part's outcomes, before and after its training.
        combined: Those of the base model and the combined one.

    Raises:
        ValueError: The tasks or their numbers of episodes differ, or there are none.
    """
    tasks = [(o.task_id, o.count.planned) for o in combined[0]]
    for outcomes in (outcome for scored in (*parts, combined) for outcome in scored):
        if not tasks or [(o.task_id, o.count.planned) for o in outcomes] != tasks:
            raise ValueError("gains add up over the same tasks in the same order only")
    total_N = np.sum([_gain(scored) for scored in parts], axis=0)
    return Addition(total=_mean(total_N), surplus=_mean(_gain(combined) - total_N))


def _gain(scored: Scored) -> Float[np.ndarray, " N"]:
    before_N, after_N = (np.array([o.count.rate for o in outcomes]) for outcomes in scored)
    return after_N - before_N


def _mean(gain_N: Float[np.ndarray, " N"]) -> Difference:
    draws_S = task_weights(len(gain_N), seed=0) @ gain_N
    return Difference.of_draws(float(gain_N.mean()), draws_S, tasks=len(gain_N))
