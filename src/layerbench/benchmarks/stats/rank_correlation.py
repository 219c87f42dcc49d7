"""Rank correlations between sweeps: whether they order the layers alike.

Shape suffixes: K pairs of layers, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.contribution import estimate
from layerbench.benchmarks.stats.ranking import LayerGain
from layerbench.benchmarks.stats.success import Estimate, Interval

FEWEST_PAIRS = 3
"""Layers that two sweeps must share, at least: with two, every correlation is 1 or -1."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The layers of one sweep that were trained alone.

    Attributes:
        layers: The layers' gains, at most one entry a layer.
        num_layers: Number of decoder blocks of the model.
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
        # Over the layers of each resample: noise that moves all layers alike keeps their order.
        total, noise = float(gains_K.var()), float(noise_SK.var(axis=1).mean())
        # Noise can exceed the variance of gains that hardly differ.
        return max(0.0, 1 - noise / total) if total else 0.0


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """How alike two sweeps order the layers that both trained.

    Attributes:
        matched: A layer of the first sweep and the layer at the same depth of the second.
        spearman: Rank correlation rho of the gains.
    """

    matched: tuple[tuple[LayerGain, LayerGain], ...]
    spearman: Estimate

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Numbers of the matched layers, from 0."""
        return tuple((first.layer, second.layer) for first, second in self.matched)

    def kendall(self) -> Estimate:
        """Compute the rank correlation tau-b of the gains."""
        sides = list(zip(*self.matched, strict=True))
        value = kendall(*(np.array([[x.gain for x in side]]) for side in sides))
        draws_S = kendall(*(np.stack([x.draws for x in side], axis=1) for side in sides))
        return _interval(float(value[0]), draws_S)


def rank_correlations(sweeps: Sequence[Sweep]) -> dict[tuple[int, int], RankCorrelation]:
    """Correlate the order of the layers in every two sweeps.

    Gains have the same order as contributions, and are defined where C is not. The interval spans
    the percentiles of the resamples and those percentiles reflected about the estimate (the basic
    bootstrap; Davison and Hinkley, 1997, section 5.2): noise weakens a rank correlation, once in
    the estimate and once more in each resample, so that percentiles alone would never hold a
    correlation of 1. ``bench/agreement.py`` measures how often it holds the truth: seldom enough
    where a sweep's ``reliability`` is low.

    Returns:
        By the two sweeps' positions, the earlier first. Left out are pairs of sweeps that have
        fewer than ``FEWEST_PAIRS`` layers in common, or one of which has equal gains in all.
    """
    # By sweep and layers: ranking the resamples costs most, and most pairs share their layers.
    ranked: dict[tuple[int, tuple[int, ...]], _Ranked] = {}
    correlations: dict[tuple[int, int], RankCorrelation] = {}
    for positions in combinations(range(len(sweeps)), 2):
        matched = match(*(sweeps[position] for position in positions))
        if len(matched) < FEWEST_PAIRS:
            continue
        sides: list[_Ranked] = []
        for position, layers in zip(positions, zip(*matched, strict=True), strict=True):
            key = (position, tuple(x.layer for x in layers))
            if key not in ranked:
                ranked[key] = _Ranked.of(layers)
            sides.append(ranked[key])
        if all(side.gains_1K.any() for side in sides):
            value = _cosine(*(side.gains_1K for side in sides))
            draws_S = _cosine(*(side.draws_SK for side in sides))
            correlations[positions] = RankCorrelation(
                tuple(matched), _interval(float(value[0]), draws_S)
            )
    return correlations


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Centred ranks, all 0 where all gains are equal."""

    gains_1K: Float[np.ndarray, "1 K"]
    draws_SK: Float[np.ndarray, "S K"]

    @classmethod
    def of(cls, layers: Sequence[LayerGain]) -> "_Ranked":
        return cls(
            _centred_ranks(np.array([[x.gain for x in layers]])),
            _centred_ranks(np.stack([x.draws for x in layers], axis=1)),
        )


def match(one: Sweep, other: Sweep) -> list[tuple[LayerGain, LayerGain]]:
    """Pair the layers of two sweeps, in models of equal depth by number, else by relative depth.

    Relative depth is layer / (num_layers - 1). Each layer of the shallower model takes the nearest
    layer of the deeper one that is still free and at most half of its own layer spacing away.
    """
    if one.num_layers > other.num_layers:
        return [(a, b) for b, a in match(other, one)]
    spans = [max(sweep.num_layers - 1, 1) for sweep in (one, other)]
    reach = 0.5 / spans[0] if spans[0] != spans[1] else 0.0
    free = {x.layer / spans[1]: x for x in other.layers}
    pairs: list[tuple[LayerGain, LayerGain]] = []
    for layer in one.layers:
        depth = layer.layer / spans[0]
        # Infinity where no layer is free: it is out of reach of every depth.
        nearest = min(free, key=lambda other_depth: abs(other_depth - depth), default=np.inf)
        # The margin is for rounding: equal depths are computed by other divisions.
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
    # A tie has the sign 0: it adds to neither product nor length, which is tau-b's correction.
    return _cosine(_signs(one_SK), _signs(other_SK))


def _interval(value: float, draws_S: Float[np.ndarray, " S"]) -> Estimate:
    """Span the percentiles and their reflection; see ``rank_correlations``."""
    percentiles = estimate(value, draws_S).interval
    low = min(percentiles.low, 2 * value - percentiles.high)
    high = max(percentiles.high, 2 * value - percentiles.low)
    return Estimate(value, Interval(max(low, -1.0), min(high, 1.0)))


def _centred_ranks(values_SK: Float[np.ndarray, "S K"]) -> Float[np.ndarray, "S K"]:
    """Rank each row, ties at their mean rank, minus the mean of all ranks."""
    # Not scipy.stats.rankdata: importing that would keep every command waiting.
    # Equal values are a run in sorted order: each gets the mean of the run's first and last index.
    order_SK = np.argsort(values_SK, axis=1)
    sorted_SK = np.take_along_axis(values_SK, order_SK, axis=1)
    columns: int = values_SK.shape[1]
    index_K = np.arange(columns)
    starts_SK = np.ones(values_SK.shape, np.bool_)
    starts_SK[:, 1:] = sorted_SK[:, 1:] != sorted_SK[:, :-1]
    ends_SK = np.roll(starts_SK, -1, axis=1)
    first_SK = np.maximum.accumulate(np.where(starts_SK, index_K, 0), axis=1)
    last_SK = np.where(ends_SK, index_K, columns)[:, ::-1]
    last_SK = np.minimum.accumulate(last_SK, axis=1)[:, ::-1]
    ranks_SK = np.empty(values_SK.shape)
    np.put_along_axis(ranks_SK, order_SK, (first_SK + last_SK) / 2, axis=1)
    return ranks_SK - (columns - 1) / 2


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
