import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from layerbench.benchmarks.stats.rank_correlation import (
    RankCorrelation,
    Sweep,
    kendall,
    match,
    rank_correlations,
    spearman,
)
from layerbench.benchmarks.stats.ranking import LayerGain


def sweep(
    gains: dict[int, float], *, num_layers: int = 10, noise: float = 0.0, seed: int = 0
) -> Sweep:
    rng = np.random.default_rng(seed)
    layers = [LayerGain(k, g, g + noise * rng.standard_normal(2000)) for k, g in gains.items()]
    return Sweep(tuple(layers), num_layers)


def correlation(one: Sweep, other: Sweep) -> RankCorrelation | None:
    return rank_correlations([one, other]).get((0, 1))


def pairs(one: Sweep, other: Sweep) -> list[tuple[int, int]]:
    return [(a.layer, b.layer) for a, b in match(one, other)]


def test_correlations_by_hand() -> None:
    # Ranks 1 2 3 4 and 2 1 3 4: rho = 1 - 6 * 2 / (4 * 15) = 0.8; 5 of 6 pairs agree: tau = 4/6.
    one, other = np.array([[0.1, 0.2, 0.3, 0.4]]), np.array([[0.2, 0.1, 0.3, 0.4]])
    assert spearman(one, other).tolist() == [pytest.approx(0.8)]
    assert kendall(one, other).tolist() == [pytest.approx(4 / 6)]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=9))
def test_correlations_are_scipys(values: list[tuple[int, int]]) -> None:
    one, other = (np.array([v], dtype=float) for v in zip(*values, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns where a side is constant
        rho = float(stats.spearmanr(one[0], other[0]).statistic)  # pyright: ignore
        tau = float(stats.kendalltau(one[0], other[0]).statistic)  # pyright: ignore
    assert spearman(one, other)[0] == pytest.approx(0.0 if np.isnan(rho) else rho)
    assert kendall(one, other)[0] == pytest.approx(0.0 if np.isnan(tau) else tau)


def test_models_of_equal_depth_are_matched_by_number() -> None:
    one, other = sweep({0: 0.1, 3: 0.2, 9: 0.3}), sweep({0: 0.1, 4: 0.2, 9: 0.3})
    assert pairs(one, other) == [(0, 0), (9, 9)]


def test_models_of_other_depth_are_matched_by_relative_depth() -> None:
    # Depths 0, 1/3, 2/3, 1 of 4 layers; of 10 layers 0, 3 and 6 lie at the first three, 8 at 8/9:
    # 1/9 from the last, within half a layer of 4, 1/6. 4 lies at 4/9, further than 3 from 1/3.
    shallow = sweep({0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, num_layers=4)
    deep = sweep({0: 0.1, 3: 0.2, 4: 0.0, 6: 0.3, 8: 0.4})
    assert pairs(shallow, deep) == [(0, 0), (1, 3), (2, 6), (3, 8)]
    assert pairs(deep, shallow) == [(0, 0), (3, 1), (6, 2), (8, 3)]


def test_layers_too_far_apart_are_not_matched() -> None:
    # 1/3 and 5/9 are 2/9 apart, more than 1/6.
    assert pairs(sweep({1: 0.1}, num_layers=4), sweep({5: 0.1})) == []


def test_equal_sweeps_without_noise_agree_entirely() -> None:
    one = sweep({0: 0.1, 3: 0.2, 9: 0.3})
    found = correlation(one, one)
    assert found is not None
    assert found.pairs == ((0, 0), (3, 3), (9, 9))
    assert found.spearman.value == pytest.approx(1.0)
    assert found.kendall().interval.low == pytest.approx(1.0)


def test_few_noisy_layers_do_not_agree_for_certain() -> None:
    gains = {0: 0.1, 3: 0.2, 9: 0.3}
    found = correlation(sweep(gains, noise=0.1, seed=1), sweep(gains, noise=0.1, seed=2))
    assert found is not None
    assert found.spearman.value == pytest.approx(1.0)
    assert found.spearman.interval.low < 0
    assert found.spearman.interval.high == 1.0


def test_noise_that_hides_the_order_does_not_exclude_agreement() -> None:
    # Resamples of noisy sweeps are less alike than the estimates, which are less alike than the
    # truth, so the interval reaches above the estimate.
    one = {k: 0.1 * k for k in range(8)}
    other = {**one, 2: 0.5, 5: 0.2}
    found = correlation(sweep(one, noise=0.15, seed=1), sweep(other, noise=0.15, seed=2))
    assert found is not None
    assert found.spearman.value < 0.9
    assert found.spearman.interval.high == 1.0


@settings(max_examples=25)
@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=6),
    st.lists(st.floats(-1, 1), min_size=6, max_size=6),
)
def test_intervals_hold_the_correlation(one: list[float], other: list[float]) -> None:
    found = correlation(
        sweep(dict(enumerate(one)), noise=0.2, seed=1),
        sweep(dict(enumerate(other)), noise=0.2, seed=2),
    )
    for estimate in (found.spearman, found.kendall()) if found else ():
        low, high = estimate.interval.low, estimate.interval.high
        assert -1 <= low <= estimate.value + 1e-9
        assert estimate.value - 1e-9 <= high <= 1


def test_two_layers_or_equal_gains_have_no_order() -> None:
    three = sweep({0: 0.1, 3: 0.2, 9: 0.3})
    assert correlation(three, sweep({0: 0.1, 3: 0.2})) is None
    assert correlation(three, sweep({0: 0.1, 3: 0.1, 9: 0.1})) is None
    assert correlation(three, sweep({})) is None


def test_reliability_is_what_noise_leaves_of_the_variance() -> None:
    gains = {k: 0.1 * k for k in range(10)}
    # Variance of the gains 0.01 * 99/12 = 0.0825; noise of variance 0.04 shows as 0.04 * 9/10.
    assert sweep(gains, noise=0.2).reliability == pytest.approx(1 - 0.036 / 0.0825, abs=0.02)
    assert sweep(gains).reliability == 1.0
    assert sweep(dict.fromkeys(range(5), 0.1)).reliability == 0.0
    assert sweep(gains, noise=2.0).reliability == 0.0
