"""Whether two sweeps order the layers alike.

Shape suffixes: K pairs of layers, S resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.contribution import Estimate, estimate
from layerbench.benchmarks.ranking import LayerGain
from layerbench.benchmarks.scoring import Interval

FEWEST_PAIRS = 3

Correlation = Callable[
    [Float[np.ndarray, "S K"], Float[np.ndarray, "S K"]], Float[np.ndarray, " S"]
]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The layers of one sweep that were trained alone.

    Attributes:
        layers: At most one entry a layer.
        num_layers: Decoder blocks of the model.
    """

    layers: tuple[LayerGain, ...]
    num_layers: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two sweeps order the layers that both trained.

    Attributes:
        pairs: A layer of the one sweep and the layer at the same depth of the other.
        spearman: Rank correlation rho of the gains.
        kendall: Rank correlation tau-b.
    """

    pairs: tuple[tuple[int, int], ...]
    spearman: Estimate
    kendall: Estimate


def agreement(one: Sweep, other: Sweep) -> Agreement | None:
    """Correlate the order of the layers in two sweeps.

    Gains have the same order as contributions, and are defined where C is not. The interval spans
    the percentiles of the resamples and those percentiles reflected about the estimate (the basic
    bootstrap; Davison and Hinkley, 1997, section 5.2): noise weakens a rank correlation, once in
    the estimate and once more in each resample, so that percentiles alone would never hold a
    correlation of 1. ``bench/coverage.py`` measures how often it holds the truth.

    Returns:
        None if fewer than ``FEWEST_PAIRS`` layers can be compared, or all of a sweep's gains are
        equal.
    """
    matched = match(one, other)
    if len(matched) < FEWEST_PAIRS:
        return None
    mine, theirs = ([pair[side] for pair in matched] for side in (0, 1))
    gains = [np.array([[x.gain for x in side]]) for side in (mine, theirs)]
    if any(np.ptp(gains_1K) == 0 for gains_1K in gains):
        return None
    draws = [np.stack([x.draws for x in side], axis=1) for side in (mine, theirs)]
    return Agreement(
        pairs=tuple((a.layer, b.layer) for a, b in matched),
        spearman=_correlate(spearman, gains, draws),
        kendall=_correlate(kendall, gains, draws),
    )


def match(one: Sweep, other: Sweep) -> list[tuple[LayerGain, LayerGain]]:
    """Pair the layers of two sweeps, in models of equal depth by number, else by relative depth.

    Relative depth is layer / (num_layers - 1). Each layer of the shallower model takes the nearest
    of the other that is free and not further off than half a layer of its own.
    """
    if one.num_layers > other.num_layers:
        return [(a, b) for b, a in match(other, one)]
    spans = [max(sweep.num_layers - 1, 1) for sweep in (one, other)]
    reach = 0.5 / spans[0] if spans[0] != spans[1] else 0.0
    free = {x.layer / spans[1]: x for x in other.layers}
    pairs: list[tuple[LayerGain, LayerGain]] = []
    for layer in one.layers:
        depth = layer.layer / spans[0]
        nearest = min(free, key=lambda other_depth: abs(other_depth - depth), default=np.inf)
        if abs(nearest - depth) <= reach + 1e-9:
            pairs.append((layer, free.pop(nearest)))
    return pairs


def spearman(
    one_SK: Float[np.ndarray, "S K"], other_SK: Float[np.ndarray, "S K"]
) -> Float[np.ndarray, " S"]:
    """Correlate ranks, row by row, ties at their mean rank; 0 where a row has one rank only."""
    return _cosine(_centred_ranks(one_SK), _centred_ranks(other_SK))


def kendall(
    one_SK: Float[np.ndarray, "S K"], other_SK: Float[np.ndarray, "S K"]
) -> Float[np.ndarray, " S"]:
    """Correlate the signs of all differences, row by row: tau-b; 0 where a row is constant."""
    return _cosine(_signs(one_SK), _signs(other_SK))


def _correlate(
    correlation: Correlation,
    gains: Sequence[Float[np.ndarray, "1 K"]],
    draws: Sequence[Float[np.ndarray, "S K"]],
) -> Estimate:
    value = float(correlation(gains[0], gains[1])[0])
    percentiles = estimate(value, correlation(draws[0], draws[1])).interval
    low = min(percentiles.low, 2 * value - percentiles.high)
    high = max(percentiles.high, 2 * value - percentiles.low)
    return Estimate(value, Interval(max(low, -1.0), min(high, 1.0)))


def _centred_ranks(values_SK: Float[np.ndarray, "S K"]) -> Float[np.ndarray, "S K"]:
    # By signs, not scipy.stats.rankdata: importing that would keep every command waiting.
    above_SK = np.zeros_like(values_SK)
    for other_S1 in np.split(values_SK, values_SK.shape[1], axis=1):
        above_SK += np.sign(values_SK - other_S1) / 2
    return above_SK


def _signs(values_SK: Float[np.ndarray, "S K"]) -> Float[np.ndarray, "S _pairs"]:
    first, second = np.triu_indices(values_SK.shape[1], k=1)
    return np.sign(values_SK[:, first] - values_SK[:, second])


def _cosine(
    one: Float[np.ndarray, "S _n"], other: Float[np.ndarray, "S _n"]
) -> Float[np.ndarray, " S"]:
    length_S = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    return np.divide(
        (one * other).sum(axis=1), length_S, out=np.zeros_like(length_S), where=length_S > 0
    )
