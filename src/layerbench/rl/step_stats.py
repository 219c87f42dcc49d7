"""What is measured on the decisions of optimizer steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from layerbench.rl.importance_correction import Mismatch
from layerbench.rl.types import UpdateStats


@dataclass(frozen=True, slots=True)
class StepStats:
    """Measurements on the decisions of one or more optimizer batches, to be added by ``+``.

    Attributes:
        decisions: Number of decisions.
        loss: Sum of the batches' losses.
        sums: Sums over decisions, by the field of ``UpdateStats`` that has their mean.
        maxima: Largest values of a decision, all at least 0, by field of ``UpdateStats``.
    """

    decisions: int = 0
    loss: float = 0.0
    sums: Mapping[str, float] = field(default_factory=dict[str, float])
    maxima: Mapping[str, float] = field(default_factory=dict[str, float])

    def __add__(self, other: "StepStats") -> "StepStats":
        both = (self, other)
        return StepStats(
            decisions=self.decisions + other.decisions,
            loss=self.loss + other.loss,
            sums={
                name: sum(stats.sums.get(name, 0.0) for stats in both)
                for name in {**self.sums, **other.sums}
            },
            maxima={
                name: max(stats.maxima.get(name, 0.0) for stats in both)
                for name in {**self.maxima, **other.maxima}
            },
        )


def summarise(total: StepStats, norms: Sequence[float], mismatch: Mismatch) -> UpdateStats:
    """Average an update's measurements.

    Args:
        total: Over all of its optimizer steps.
        norms: The gradient's norm in each of them.
        mismatch: Between who sampled and who learns, before the first step.
    """
    if not norms:
        return UpdateStats(decisions=0, steps=0)
    measured = {name: value / total.decisions for name, value in total.sums.items()}
    # The mismatch is that of the first step, or of the correction, not of all steps.
    measured |= {**total.maxima, "mismatch": mismatch.mean, "max_mismatch": mismatch.largest}
    return UpdateStats(
        **measured,
        loss=total.loss / len(norms),
        grad_norm=math.fsum(norms) / len(norms),
        decisions=total.decisions,
        steps=len(norms),
        capped=mismatch.capped,
    )
