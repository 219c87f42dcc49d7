import numpy as np
import pytest

from layerbench.benchmarks.stats.ranking import LayerGain, best_layers, depth_profile


def gain(layer: int, value: float, draws: list[float] | None = None) -> LayerGain:
    return LayerGain(layer, value, np.array([value] * 4 if draws is None else draws))


def test_best_layer_wins_the_most_resamples_and_ties_are_shared() -> None:
    # Wins: layer 3 in the first two, both in the third (half each), layer 5 in the last.
    found = best_layers([gain(5, 0.1, [0.1, 0.1, 0.2, 0.4]), gain(3, 0.2, [0.2, 0.2, 0.2, 0.2])])
    assert [(best.layer, best.probability) for best in found] == [(3, 0.625), (5, 0.375)]


def test_no_layers_have_no_best() -> None:
    assert best_layers([]) == ()


def test_thirds_are_of_the_relative_depth() -> None:
    # 10 layers: relative depth k/9, so 0-2 lie below 1/3, 3-5 below 2/3, 6-9 above.
    profile = depth_profile([gain(layer, layer / 10) for layer in range(10)], 10)
    assert [third.layers for third in profile] == [(0, 1, 2), (3, 4, 5), (6, 7, 8, 9)]
    assert [third.name for third in profile] == ["first", "middle", "last"]
    # Mean of 0.3, 0.4, 0.5 against the mean of the other seven: (0.3 + 3.0) / 7.
    assert profile[1].gain.value == pytest.approx(0.4)
    assert profile[1].against_rest is not None
    assert profile[1].against_rest.value == pytest.approx(0.4 - 3.3 / 7)


def test_a_third_without_layers_is_left_out() -> None:
    profile = depth_profile([gain(0, 0.1), gain(9, 0.3)], 10)
    assert [third.name for third in profile] == ["first", "last"]


def test_a_lone_third_is_compared_with_nothing() -> None:
    [third] = depth_profile([gain(4, 0.1)], 10)
    assert third.against_rest is None


def test_a_model_of_one_layer_has_one_third() -> None:
    assert [third.name for third in depth_profile([gain(0, 0.1)], 1)] == ["first"]


def test_profile_of_resamples_gives_the_interval() -> None:
    [third] = depth_profile([gain(4, 0.1, [0.0, 0.1, 0.2, 0.3]), gain(5, 0.3, [0.4] * 4)], 10)
    # Means of the two: 0.2, 0.25, 0.3, 0.35; the outermost quantiles of four are the ends.
    assert third.gain.interval.low == pytest.approx(0.2)
    assert third.gain.interval.high == pytest.approx(0.35)
