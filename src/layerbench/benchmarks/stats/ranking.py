"""Rankings of the layers trained alone: the best layer, and the best third of the stack.

Shape suffixes: K layers, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.contribution import estimate
from layerbench.benchmarks.stats.success import Estimate

THIRDS = ("first", "middle", "last")


@dataclass(frozen=True, slots=True)
class LayerGain:
    """One layer trained alone.

    Attributes:
        layer: Decoder block, from 0.
        gain: S - S_base.
        draws: Resamples of the gain, aligned over the layers of a sweep.
    """

    layer: int
    gain: float
    draws: Float[np.ndarray, " S"]


@dataclass(frozen=True, slots=True)
class BestLayer:
    """A layer, and the share of resamples in which no other layer gained more."""

    layer: int
    probability: float


@dataclass(frozen=True, slots=True)
class DepthThird:
    """The layers of one third of the stack, by relative depth layer / (num_layers - 1).

    Attributes:
        name: ``first`` (nearest the embedding), ``middle`` or ``last``.
        layers: The layers of the third that were trained, from 0.
        gain: Mean of S - S_base over these layers.
        against_rest: That mean minus the mean over the layers of the other thirds; None if none of
            those was trained.
    """

    name: str
    layers: tuple[int, ...]
    gain: Estimate
    against_rest: Estimate | None


def best_layers(layers: Sequence[LayerGain]) -> tuple[BestLayer, ...]:
    """Give each layer the share of resamples that it wins, likeliest first; ties are shared."""
    if not layers:
        return ()
    gains_KS = np.stack([layer.draws for layer in layers])
    # Exact ties occur where no selection has a second seed: draws then vary by tasks alone.
    wins_KS = gains_KS == gains_KS.max(axis=0)
    share_K = (wins_KS / wins_KS.sum(axis=0)).mean(axis=1)
    best = [BestLayer(layer.layer, float(p)) for layer, p in zip(layers, share_K, strict=True)]
    return tuple(sorted(best, key=lambda b: (-b.probability, b.layer)))


def depth_profile(layers: Sequence[LayerGain], num_layers: int) -> tuple[DepthThird, ...]:
    """Compare the thirds of the stack that have trained layers, nearest the embedding first."""
    by_third = {
        third: [x for x in layers if _third(x.layer, num_layers) == third]
        for third in range(len(THIRDS))
    }
    return tuple(
        _compare_third(
            THIRDS[third], inside, [x for x in layers if _third(x.layer, num_layers) != third]
        )
        for third, inside in by_third.items()
        if inside
    )


def _third(layer: int, num_layers: int) -> int:
    # The last layer lies at depth 1, where a fourth third would begin.
    return min(3 * layer // max(num_layers - 1, 1), 2)


def _compare_third(
    name: str, inside: Sequence[LayerGain], outside: Sequence[LayerGain]
) -> DepthThird:
    value, draws_S = _mean(inside)
    against_rest = None
    if outside:
        other, other_S = _mean(outside)
        against_rest = estimate(value - other, draws_S - other_S)
    return DepthThird(name, tuple(x.layer for x in inside), estimate(value, draws_S), against_rest)


def _mean(layers: Sequence[LayerGain]) -> tuple[float, Float[np.ndarray, " S"]]:
    value = float(np.mean([x.gain for x in layers]))
    # Resample by resample: draws are aligned, so that easy tasks cancel out between the thirds.
    return value, np.mean([x.draws for x in layers], axis=0)
