import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerbench.benchmarks.stats.rate_fit import fit_rates

coefficients = st.floats(-8, 8)


@given(st.integers(3, 64), st.data(), st.tuples(st.floats(-16, -2), coefficients, coefficients))
def test_a_quadratic_is_found_again(
    num_layers: int, data: st.DataObject, terms: tuple[float, float, float]
) -> None:
    layers = data.draw(st.sets(st.integers(0, num_layers - 1), min_size=3))

    def rate(layer: int) -> float:
        depth = layer / (num_layers - 1)
        return math.exp(terms[0] + terms[1] * depth + terms[2] * depth**2)

    fit = fit_rates({layer: rate(layer) for layer in layers}, num_layers=num_layers)
    assert fit.residual == pytest.approx(0.0, abs=1e-9)
    for layer in range(min(layers), max(layers) + 1):
        assert math.log(fit.rate(layer)) == pytest.approx(math.log(rate(layer)), abs=1e-6)


def test_a_lucky_layer_moves_the_others_little() -> None:
    best = dict.fromkeys(range(9), 0.001) | {4: 1e-2}
    fit = fit_rates(best, num_layers=9)
    # A quadratic over nine points gives the middle one a weight of 59/231 (Savitzky and Golay).
    assert fit.rate(4) == pytest.approx(1e-3 * 10 ** (59 / 231))
    assert 1e-3 / 1.6 < fit.rate(0) < 1e-3
    assert fit.residual > 0.5


def test_fewer_than_three_layers_make_a_line_or_a_constant() -> None:
    assert fit_rates({1: 1e-3}, num_layers=1).rate(0) == pytest.approx(1e-3)
    two = fit_rates({0: 1e-4, 4: 1e-2}, num_layers=5)
    assert two.rate(2) == pytest.approx(1e-3)
    assert (len(two.coefficients), two.residual) == (2, 0.0)
