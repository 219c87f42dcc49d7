import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerbench.benchmarks.stats import contribution
from layerbench.benchmarks.stats.bootstrap import Resampler, Scores
from layerbench.benchmarks.stats.contribution import Comparison, Standing, compare, holm, verdict

BASE, FULL = "none", "full"


def tasks(won: int, *, of: int = 40, seeds: int = 3) -> Scores:
    """Win the same first tasks in every seed."""
    return {seed: np.array([1.0] * won + [0.0] * (of - won)) for seed in range(seeds)}


def luck(rate: float, rng: np.random.Generator, *, seeds: int = 3, of: int = 128) -> Scores:
    return {seed: (rng.random(of) < rate).astype(float) for seed in range(seeds)}


def compared(**selections: Scores) -> dict[str, Comparison]:
    named = {name.removeprefix("layer"): scores for name, scores in selections.items()}
    return compare(named, base=BASE, full=FULL, resampler=Resampler(named, untrained=[BASE]))


def test_contribution_is_the_share_of_the_gain() -> None:
    # Base 8/40, full 32/40, layer 23/40: (23 - 8) / (32 - 8) = 15/24.
    found = compared(none=tasks(8), full=tasks(32), layer5=tasks(23))["5"]
    assert found.contribution.estimate is not None
    assert found.contribution.estimate.value == pytest.approx(15 / 24)
    assert found.gain.value == pytest.approx(15 / 40)
    assert found.against_full is not None
    assert found.against_full.value == pytest.approx(-9 / 40)


def test_a_layer_that_only_wins_what_the_base_wins_contributes_nothing() -> None:
    found = compared(none=tasks(8), full=tasks(32), layer5=tasks(8))["5"]
    assert found.contribution.estimate is not None
    assert found.contribution.estimate.value == 0
    assert (
        found.contribution.estimate.interval.low <= 0 <= found.contribution.estimate.interval.high
    )
    assert (found.to_base, found.to_full) == (Standing.UNCLEAR, Standing.BELOW)


def test_contribution_is_undefined_where_full_is_not_clear_of_the_base() -> None:
    rng = np.random.default_rng(0)
    found = compared(none=luck(0.4, rng), full=luck(0.42, rng), layer5=luck(0.41, rng))["5"]
    assert found.contribution.estimate is None
    assert found.contribution.undefined.startswith("full training is not clear of the base: ")
    assert len(found.contribution_draws) == 0


def test_contribution_is_undefined_where_full_lost() -> None:
    found = compared(none=tasks(32), full=tasks(8), layer5=tasks(23))["5"]
    assert found.contribution.undefined.startswith("full training is below the base: -0.60, 95 % ")


def test_without_full_training_there_is_a_gain_alone() -> None:
    found = compared(none=tasks(8), layer5=tasks(23))["5"]
    assert found.contribution.undefined == "there is no full training to compare with"
    assert (found.against_full, found.to_full) == (None, None)
    assert found.to_base is Standing.ABOVE


def test_contribution_rests_on_shared_seeds() -> None:
    # Seed 0 alone is shared: (20 - 8) / (32 - 8) = 1/2, whatever seed 1 did.
    layer = {0: tasks(20, seeds=1)[0], 1: tasks(22, seeds=1)[0]}
    found = compared(none=tasks(8), full=tasks(32, seeds=1), layer5=layer)["5"]
    assert found.shared_seeds == (0,)
    assert found.contribution.estimate is not None
    assert found.contribution.estimate.value == pytest.approx(0.5)
    assert found.gain.value == pytest.approx((12 + 14) / 80)


def test_a_seed_that_full_lacks_gives_no_contribution() -> None:
    layer = {2: tasks(20, seeds=1)[0]}
    found = compared(none=tasks(8), full=tasks(32, seeds=2), layer5=layer)["5"]
    assert found.contribution.undefined == "it shares no seed with full training"


def test_full_has_no_contribution_of_its_own() -> None:
    found = compared(none=tasks(8), full=tasks(32))[FULL]
    assert found.contribution.undefined == "1 by definition"
    assert found.to_base is Standing.ABOVE


def test_interval_of_the_contribution_is_fiellers() -> None:
    # With many seeds and no seed effect all is normal. Fieller's bounds on N / D solve
    # (N - c D)^2 = z^2 (V_N - 2 c V_ND + c^2 V_D), a quadratic in c.
    rng = np.random.default_rng(5)
    names = {"none": 0.3, "full": 0.6, "5": 0.45}
    selections = {name: luck(rate, rng, seeds=12, of=400) for name, rate in names.items()}
    found = compare(
        selections, base=BASE, full=FULL, resampler=Resampler(selections, untrained=[BASE])
    )["5"]
    mean = {name: np.mean(list(scores.values()), axis=0) for name, scores in selections.items()}
    gain_N, whole_N = mean["5"] - mean["none"], mean["full"] - mean["none"]
    v = np.cov(np.stack([gain_N, whole_N])) / 400
    n, d, z2 = gain_N.mean(), whole_N.mean(), 1.96**2
    bounds = sorted(
        np.roots([d**2 - z2 * v[1, 1], 2 * (z2 * v[0, 1] - n * d), n**2 - z2 * v[0, 0]]).real
    )
    assert found.contribution.estimate is not None
    interval = found.contribution.estimate.interval
    # Seeds add a little, since that they do nothing is only an estimate.
    assert bounds[0] - 0.05 < interval.low < bounds[0] + 0.01
    assert bounds[1] - 0.01 < interval.high < bounds[1] + 0.05


@settings(max_examples=25)
@given(rates=st.lists(st.integers(0, 24), min_size=3, max_size=5), seed=st.integers(0, 5))
def test_intervals_hold_their_value_and_contributions_agree_with_gains(
    rates: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    names = [BASE, FULL, *(str(k) for k in range(len(rates) - 2))]
    selections: dict[str, Scores] = {
        name: luck(rate / 24, rng, of=24) for name, rate in zip(names, rates, strict=True)
    }
    found = compare(
        selections, base=BASE, full=FULL, resampler=Resampler(selections, untrained=[BASE])
    )
    for name, comparison in found.items():
        gain = comparison.gain
        assert gain.interval.low - 1e-9 <= gain.value <= gain.interval.high + 1e-9
        defined = comparison.contribution.estimate
        assert (defined is None) == bool(comparison.contribution.undefined)
        if defined and name != FULL:
            assert found[FULL].gain.interval.low > 0
            assert defined.value == pytest.approx(gain.value / found[FULL].gain.value)
            assert math.isfinite(defined.interval.low)
            assert math.isfinite(defined.interval.high)


def test_verdicts_are_words() -> None:
    above, below, unclear = Standing.ABOVE, Standing.BELOW, Standing.UNCLEAR
    assert verdict(above, unclear) == "better than base, indistinguishable from full"
    assert verdict(above, below) == "better than base, worse than full"
    assert verdict(above, above) == "better than base and full"
    assert verdict(unclear, unclear) == "indistinguishable from base and full"
    assert verdict(below, None) == "worse than base"


def test_holm_compares_the_smallest_with_the_level_over_all() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 against 0.05/4, 0.05/3, ...: 0.0125 passes, 0.0167 does not.
    assert holm([0.04, 0.01, 0.03, 0.02]) == [False, True, False, False]
    # 0.01 <= 0.05/3, 0.02 <= 0.05/2, 0.04 <= 0.05.
    assert holm([0.01, 0.04, 0.02]) == [True, True, True]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_bonferroni_and_no_correction(p_values: list[float]) -> None:
    for p, rejected in zip(p_values, holm(p_values), strict=True):
        assert not (p <= 0.05 / len(p_values) and not rejected)
        assert not (rejected and p > 0.05)


def test_p_value_is_twice_the_smaller_tail() -> None:
    # 1 of 99 resamples is not above 0: 2 * (1 + 1) / (99 + 1).
    assert contribution.p_value(np.array([-1.0] + [1.0] * 98), tasks=9) == pytest.approx(0.04)
    assert contribution.p_value(np.zeros(10), tasks=9) == 1.0
    # Four tasks won that were lost: a sign test's p.
    assert contribution.p_value(np.ones(9999), tasks=4) == 0.125


def test_more_selections_make_a_verdict_harder() -> None:
    rng = np.random.default_rng(0)
    base, full, layer = luck(0.30, rng), luck(0.6, rng), luck(0.38, rng)
    few = compared(none=base, full=full, layer5=layer)
    # 0.11 is clear of 0 alone, but not as the best of 40 that are not.
    many = {f"layer{k}": luck(0.30, rng) for k in range(10, 49)}
    crowd = compared(none=base, full=full, layer5=layer, **many)
    assert few["5"].to_base is Standing.ABOVE
    assert contribution.p_value(crowd["5"].gain_draws, tasks=128) < 0.05
    assert crowd["5"].to_base is Standing.UNCLEAR


def test_thirty_selections_take_less_than_five_seconds() -> None:
    rng = np.random.default_rng(0)
    selections = {name: luck(0.4, rng) for name in (BASE, *(str(k) for k in range(29)))}
    selections[FULL] = luck(0.6, rng)
    started = time.process_time()
    compare(selections, base=BASE, full=FULL, resampler=Resampler(selections, untrained=[BASE]))
    assert time.process_time() - started < 5
