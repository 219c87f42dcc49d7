"""Contrasts of the layers trained alone, the variances behind them, and the best layer's luck.

Thirds of the stack are in ``ranking``. Shape suffixes: K layers, S resamples, R seeds, N tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.bootstrap import Scores, task_weights
from layerbench.benchmarks.stats.contribution import estimate
from layerbench.benchmarks.stats.rank_correlation import Sweep
from layerbench.benchmarks.stats.ranking import LayerGain
from layerbench.benchmarks.stats.success import Estimate

FEWEST_LAYERS = 4
"""Layers that contrasts over depth need: three lie on every parabola."""


@dataclass(frozen=True, slots=True)
class Picked:
    """The layer that gained most, with its gain corrected for having been picked by it.

    Attributes:
        layer: The layer, from 0.
        gain: Its gain as measured.
        corrected: Its gain minus the bias of picking the largest of these.
    """

    layer: int
    gain: Estimate
    corrected: Estimate


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of success, as success rates.

    Attributes:
        layers: Between the layers' gains, the noise taken off.
        seeds: Between trainings of one layer; None where no layer has two seeds.
        tasks: Between tasks, of what one layer alone finds easy or hard; None likewise.
    """

    layers: Estimate
    seeds: Estimate | None
    tasks: Estimate | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """Share of the variance between the layers' gains that is not noise.

    Attributes:
        all: Of all layers.
        without_lowest: Without the layer that gained least.
        without_highest: Without the one that gained most.
        without_both: Without either.
    """

    all: float
    without_lowest: float
    without_highest: float
    without_both: float


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Contrasts of the layers trained alone; gains are differences of success rates.

    Attributes:
        slope: Gain of the last block over the first, by a straight line over depth.
        curvature: Gain of the middle over the mean of both ends, by a parabola over depth.
        spread: Variation between layers, seeds and tasks.
        reliability: How much of the order is not noise, with and without its extremes.
        best: The best layer, corrected for having been picked.
    """

    slope: Estimate
    curvature: Estimate
    spread: Spread
    reliability: Reliability
    best: Picked


def contrast(
    layers: Sequence[LayerGain], num_layers: int, scores: Sequence[Scores]
) -> Contrasts | None:
    """Compute the contrasts; None for fewer than ``FEWEST_LAYERS`` layers.

    Intervals are the middle 95 % of the layers' resamples. None is corrected for the number of
    contrasts.

    Args:
        layers: Gains of the layers trained alone.
        num_layers: Number of decoder blocks of the model.
        scores: Success of the same layers, by seed and task.
    """
    if len(layers) < FEWEST_LAYERS:
        return None
    linear_K, quadratic_K = polynomial_weights([x.layer / (num_layers - 1) for x in layers])
    return Contrasts(
        slope=_weighted(layers, linear_K),
        # A parabola of the coefficient c is higher by -c/4 in the middle than at both ends' mean.
        curvature=_weighted(layers, -quadratic_K / 4),
        spread=Spread(_between_layers(layers), *_within_layers(scores)),
        reliability=_reliability(layers, num_layers),
        best=_picked(layers),
    )


def polynomial_weights(
    depths: Sequence[float],
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Give the weights by which gains at these depths make a slope and a quadratic coefficient.

    Orthogonal polynomials over the depths (Kutner et al., 2005, Applied Linear Statistical Models,
    section 8.1): the coefficients of depth and its square in the least-squares parabola, the first
    as if the square were left out.

    >>> linear, quadratic = polynomial_weights([0.0, 0.5, 1.0])
    >>> linear.round(6).tolist(), quadratic.round(6).tolist()
    ([-1.0, 0.0, 1.0], [2.0, -4.0, 2.0])
    """
    depth_K = np.asarray(depths, np.float64)
    linear_K = depth_K - depth_K.mean()
    square_K = np.square(depth_K) - np.square(depth_K).mean()
    quadratic_K = square_K - linear_K * (square_K @ linear_K) / (linear_K @ linear_K)
    return linear_K / (linear_K @ linear_K), quadratic_K / (quadratic_K @ quadratic_K)


def _weighted(layers: Sequence[LayerGain], weights_K: Float[np.ndarray, " K"]) -> Estimate:
    gains_K, draws_SK = _arrays(layers)
    return estimate(float(gains_K @ weights_K), draws_SK @ weights_K)


def _arrays(
    layers: Sequence[LayerGain],
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "S K"]]:
    return np.array([x.gain for x in layers]), np.stack([x.draws for x in layers], axis=1)


def _between_layers(layers: Sequence[LayerGain]) -> Estimate:
    gains_K, draws_SK = _arrays(layers)
    noise = float((draws_SK - gains_K).var(axis=1, ddof=1).mean())
    value = float(gains_K.var(ddof=1)) - noise
    # A resample has the noise twice: that of the gains, and its own.
    draws_S = draws_SK.var(axis=1, ddof=1) - 2 * noise
    return _root(value, draws_S)


def _root(variance: float, draws_S: Float[np.ndarray, " S"]) -> Estimate:
    return estimate(max(0.0, variance) ** 0.5, np.sqrt(np.maximum(0.0, draws_S)))


def _within_layers(scores: Sequence[Scores]) -> tuple[Estimate | None, Estimate | None]:
    """Estimate the spread between seeds, and the tasks' that is one layer's alone.

    By mean squares within each layer, of seeds by tasks, averaged over the layers by their degrees
    of freedom. Seeds are drawn by what these allow (see ``bootstrap.Resampler``), tasks are
    resampled.
    """
    layouts = [np.stack(list(by_seed.values())) for by_seed in scores if len(by_seed) > 1]
    if not layouts or layouts[0].shape[1] == 1:
        return None, None
    tasks = layouts[0].shape[1]
    freedom = sum(len(rates_RN) - 1 for rates_RN in layouts)
    between = sum(float(np.square(_centred(r.mean(axis=1))).sum()) for r in layouts) / freedom
    residual_N = np.sum([_residual_squares(rates_RN) for rates_RN in layouts], axis=0) / freedom
    weights_SN = task_weights(tasks, 0)
    rng = np.random.default_rng([freedom, tasks])
    pivots_S = between * freedom / rng.chisquare(freedom, size=len(weights_SN))
    seeds = _root(
        between - float(residual_N.mean()) / tasks, pivots_S - weights_SN @ residual_N / tasks
    )
    return seeds, _own_tasks(layouts, residual_N, weights_SN)


def _centred(values_R: Float[np.ndarray, " R"]) -> Float[np.ndarray, " R"]:
    return values_R - values_R.mean()


def _residual_squares(rates_RN: Float[np.ndarray, "R N"]) -> Float[np.ndarray, " N"]:
    """Sum, by task, the squares of what neither seed nor task explains, over its tasks' freedom."""
    by_seed_R1 = rates_RN.mean(axis=1, keepdims=True)
    residual_RN = rates_RN - by_seed_R1 - rates_RN.mean(axis=0) + rates_RN.mean()
    tasks = rates_RN.shape[1]
    return np.square(residual_RN).sum(axis=0) * tasks / (tasks - 1)


def _own_tasks(
    layouts: Sequence[Float[np.ndarray, "_r N"]],
    residual_N: Float[np.ndarray, " N"],
    weights_SN: Float[np.ndarray, "S N"],
) -> Estimate | None:
    if len(layouts) < 2:
        return None
    means_KN = np.stack([rates_RN.mean(axis=0) for rates_RN in layouts])
    own_KN = means_KN - means_KN.mean(axis=1, keepdims=True)
    noise_N = residual_N * np.mean([1 / len(rates_RN) for rates_RN in layouts])
    # Over the layers: what makes a task easy for all of them is not a layer's own.
    own_N = own_KN.var(axis=0, ddof=1) - noise_N
    return _root(float(own_N.mean()), weights_SN @ own_N)


def _reliability(layers: Sequence[LayerGain], num_layers: int) -> Reliability:
    ordered = sorted(layers, key=lambda x: x.gain)

    def of(kept: Sequence[LayerGain]) -> float:
        return Sweep(tuple(kept), num_layers).reliability

    return Reliability(
        all=of(ordered),
        without_lowest=of(ordered[1:]),
        without_highest=of(ordered[:-1]),
        without_both=of(ordered[1:-1]),
    )


def _picked(layers: Sequence[LayerGain]) -> Picked:
    """Correct the largest gain by the bootstrap's own bias of picking the largest.

    In each resample the best layer is picked anew, and by how much its gain there is above the one
    that was measured is the bias (Faye, Sun, Dimitromanolakis and Bull, 2011, Statistics in
    Medicine 30). Where all layers are alike, it takes off about two thirds of the true bias.
    """
    gains_K, draws_SK = _arrays(layers)
    best = int(gains_K.argmax())
    picked_S = draws_SK.argmax(axis=1)
    rows = np.arange(len(draws_SK))
    bias = float((draws_SK[rows, picked_S] - gains_K[picked_S]).mean())
    # Resamples need not be centred on what was measured.
    bias -= float((draws_SK[:, best] - gains_K[best]).mean())
    return Picked(
        layers[best].layer,
        estimate(float(gains_K[best]), draws_SK[:, best]),
        estimate(float(gains_K[best]) - bias, draws_SK[:, best] - bias),
    )
