"""Whether two sweeps order the layers alike.

Shape suffixes: K pairs of layers, S resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.contribution import Estimate, estimate
from layerbench.benchmarks.stats.ranking import LayerGain
from layerbench.benchmarks.stats.success import Interval

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

    @property
    def reliability(self) -> float:
        """Share of the variance between the layers' gains that is not noise, in [0, 1].

        A correlation with a sweep of low reliability says little: its order is mostly luck.
        """
        gains_K = np.array([x.gain for x in self.layers])
        noise_SK = np.stack([x.draws for x in self.layers], axis=1) - gains_K
        seen, noise = float(gains_K.var()), float(noise_SK.var(axis=1).mean())
        return max(0.0, 1 - noise / seen) if seen else 0.0


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
    correlation of 1. ``bench/agreement.py`` measures how often it holds the truth: seldom enough
    where a sweep's ``reliability`` is low.

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


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rho of two sweeps, as in ``Agreement``.

    Attributes:
        pairs: A layer of the one sweep and the layer at the same depth of the other.
        spearman: Rank correlation of the gains.
    """

    pairs: tuple[tuple[int, int], ...]
    spearman: Estimate


def rank_correlations(sweeps: Sequence[Sweep]) -> dict[tuple[int, int], RankCorrelation]:
    """Correlate every two of many sweeps, by their places, the earlier first.

    The ranks of a sweep's resamples are found once for each set of layers that it is compared by,
    not once for each other sweep. What cannot be compared is left out.
    """
    ranked: dict[tuple[int, tuple[int, ...]], _Ranked] = {}
    found: dict[tuple[int, int], RankCorrelation] = {}
    for i, j in combinations(range(len(sweeps)), 2):
        matched = match(sweeps[i], sweeps[j])
        sides: list[_Ranked] = []
        for side, place in enumerate((i, j)):
            layers = [pair[side] for pair in matched]
            key = (place, tuple(x.layer for x in layers))
            if len(layers) >= FEWEST_PAIRS and key not in ranked:
                ranked[key] = _Ranked.of(layers)
            sides += [ranked[key]] if key in ranked else []
        if len(sides) == 2 and all(side.gains_1K.any() for side in sides):
            value = float((sides[0].gains_1K * sides[1].gains_1K).sum())
            draws_S = np.einsum("sk,sk->s", sides[0].draws_SK, sides[1].draws_SK)
            pairs = tuple((a.layer, b.layer) for a, b in matched)
            found[i, j] = RankCorrelation(pairs, _interval(value, draws_S))
    return found


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Centred ranks of unit length, or all 0 where there is one rank only."""

    gains_1K: Float[np.ndarray, "1 K"]
    draws_SK: Float[np.ndarray, "S K"]

    @classmethod
    def of(cls, layers: Sequence[LayerGain]) -> "_Ranked":
        return cls(
            _unit(_centred_ranks(np.array([[x.gain for x in layers]]))),
            _unit(_centred_ranks(np.stack([x.draws for x in layers], axis=1))),
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
    return _interval(value, correlation(draws[0], draws[1]))


def _interval(value: float, draws_S: Float[np.ndarray, " S"]) -> Estimate:
    """Span the percentiles and their reflection; see ``agreement``."""
    percentiles = estimate(value, draws_S).interval
    low = min(percentiles.low, 2 * value - percentiles.high)
    high = max(percentiles.high, 2 * value - percentiles.low)
    return Estimate(value, Interval(max(low, -1.0), min(high, 1.0)))


def _centred_ranks(values_SK: Float[np.ndarray, "S K"]) -> Float[np.ndarray, "S K"]:
    """Rank each row about 0, ties at their mean rank."""
    # Not scipy.stats.rankdata: importing that would keep every command waiting.
    order_SK = np.argsort(values_SK, axis=1)
    sorted_SK = np.take_along_axis(values_SK, order_SK, axis=1)
    columns: int = values_SK.shape[1]
    place_K = np.arange(columns)
    starts_SK = np.ones(values_SK.shape, np.bool_)
    starts_SK[:, 1:] = sorted_SK[:, 1:] != sorted_SK[:, :-1]
    ends_SK = np.roll(starts_SK, -1, axis=1)
    first_SK = np.maximum.accumulate(np.where(starts_SK, place_K, 0), axis=1)
    last_SK = np.where(ends_SK, place_K, columns)[:, ::-1]
    last_SK = np.minimum.accumulate(last_SK, axis=1)[:, ::-1]
    ranks_SK = np.empty(values_SK.shape)
    np.put_along_axis(ranks_SK, order_SK, (first_SK + last_SK) / 2, axis=1)
    return ranks_SK - (columns - 1) / 2


def _unit(values_SK: Float[np.ndarray, "S K"]) -> Float[np.ndarray, "S K"]:
    length_S1 = np.sqrt(np.square(values_SK).sum(axis=1, keepdims=True))
    return np.divide(values_SK, length_S1, out=np.zeros_like(values_SK), where=length_S1 > 0)


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
