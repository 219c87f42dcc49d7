"""Additivity: the gain of a combined model against the sum of its separately trained parts'.

Shape suffixes: N tasks, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.bootstrap import task_weights
from layerbench.benchmarks.stats.success import Difference, TaskOutcome, rates

BeforeAfter = tuple[Sequence[TaskOutcome], Sequence[TaskOutcome]]
"""Outcomes before and after training, one a task, in the same order."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A combined model's gain in success rate against its parts' gains.

    Attributes:
        total: Sum of the parts' gains; it may leave [-1, 1].
        surplus: Gain of the combined model minus that sum.
    """

    total: Difference
    surplus: Difference

    @property
    def verdict(self) -> str:
        """State in words what the interval of the surplus shows."""
        if self.surplus.interval.low > 0.0:
            return "together they gain more than the sum of their gains"
        if self.surplus.interval.high < 0.0:
            return "together they gain less than the sum of their gains"
        return "no departure from the sum of their gains is seen"


def add_up(parts: Sequence[BeforeAfter], combined: BeforeAfter) -> Addition:
    """Compare the gain of a combined model with the sum of its parts' gains.

    Tasks are resampled with replacement, the same for base, parts and combined model; percentile
    intervals, 95 %. They leave out the variance between training seeds: the parts are given.

    Args:
        parts: Each part's outcomes, before and after its training.
        combined: Outcomes of the base model and of the combined model.

    Raises:
        ValueError: The tasks or their numbers of episodes differ, or there are none.
    """
    tasks = [(o.task_id, o.count.planned) for o in combined[0]]
    for outcomes in (side for pair in (*parts, combined) for side in pair):
        if not tasks or [(o.task_id, o.count.planned) for o in outcomes] != tasks:
            raise ValueError("gains add up over the same tasks in the same order only")
    total_N = np.sum([_gain(part) for part in parts], axis=0)
    # The surplus by task, before resampling: what makes a task easy cancels out of it.
    return Addition(total=_mean(total_N), surplus=_mean(_gain(combined) - total_N))


def _gain(outcomes: BeforeAfter) -> Float[np.ndarray, " N"]:
    before_N, after_N = map(rates, outcomes)
    return after_N - before_N


def _mean(gain_N: Float[np.ndarray, " N"]) -> Difference:
    # One seed for all: the total and the surplus come from the same resamples of tasks.
    draws_S = task_weights(len(gain_N), seed=0) @ gain_N
    return Difference.of_draws(float(gain_N.mean()), draws_S, tasks=len(gain_N))
