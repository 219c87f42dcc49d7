"""Do the gains of layers that were trained apart add up? Pure functions of counts.

Shape suffixes: N tasks, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.scoring import RESAMPLES, Difference, Interval, TaskOutcome

Scored = tuple[Sequence[TaskOutcome], Sequence[TaskOutcome]]
"""Outcomes before and after training, task by task."""

_CHUNK = 500  # resamples drawn at once: bounds memory for long task lists


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


def add_up(parts: Sequence[Scored], combined: Scored, *, seed: int = 0) -> Addition:
    """Compare the gain of a combined model with the sum of its parts' gains.

    Tasks are resampled with replacement, the same for base, parts and combined model; percentile
    intervals, 95 %. What training again would move is not in them: the parts are what they are.

    Args:
        parts: Each part's outcomes, before and after its training.
        combined: Those of the base model and the combined one.
        seed: Of the resampling.

    Raises:
        ValueError: The tasks or their numbers of episodes differ, or there are none.
    """
    tasks = [(o.task_id, o.count.planned) for o in combined[0]]
    for outcomes in (outcome for scored in (*parts, combined) for outcome in scored):
        if not tasks or [(o.task_id, o.count.planned) for o in outcomes] != tasks:
            raise ValueError("gains add up over the same tasks in the same order only")
    episodes_N = np.array([planned for _, planned in tasks], dtype=np.float64)
    total_N = np.sum([_won(after) - _won(before) for before, after in parts], axis=0)
    surplus_N = _won(combined[1]) - _won(combined[0]) - total_N
    return Addition(
        total=_difference(total_N, episodes_N, seed=seed),
        surplus=_difference(surplus_N, episodes_N, seed=seed),
    )


def _won(outcomes: Sequence[TaskOutcome]) -> Float[np.ndarray, " N"]:
    return np.array([o.count.successes for o in outcomes], dtype=np.float64)


def _difference(
    gain_N: Float[np.ndarray, " N"], episodes_N: Float[np.ndarray, " N"], *, seed: int
) -> Difference:
    rng = np.random.default_rng(seed)
    chunks: list[Float[np.ndarray, " S"]] = []
    for _ in range(RESAMPLES // _CHUNK):
        drawn_SN = rng.integers(len(gain_N), size=(_CHUNK, len(gain_N)))
        chunks.append(gain_N[drawn_SN].sum(axis=1) / episodes_N[drawn_SN].sum(axis=1))
    low, high = np.percentile(np.concatenate(chunks), [2.5, 97.5])
    return Difference(
        difference=float(gain_N.sum() / episodes_N.sum()),
        interval=Interval(low=float(low), high=float(high)),
        tasks=len(gain_N),
    )
