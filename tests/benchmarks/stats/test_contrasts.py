import numpy as np
import pytest

from layerbench.benchmarks.stats.bootstrap import Scores
from layerbench.benchmarks.stats.contrasts import Contrasts, contrast, polynomial_weights
from layerbench.benchmarks.stats.ranking import LayerGain

DRAWS = 2000


def gains(
    true: list[float], *, noise: float = 0.0, rng: np.random.Generator | None = None
) -> list[LayerGain]:
    """Layers with these true gains, measured with noise that the resamples know."""
    rng = rng or np.random.default_rng(0)
    measured = np.array(true) + rng.normal(0, noise or 1e-12, len(true))
    draws = measured + rng.normal(0, noise or 1e-12, (DRAWS, len(true)))
    return [LayerGain(k, float(g), draws[:, k]) for k, g in enumerate(measured)]


def scores(
    layers: int, *, seeds: int = 3, tasks: int = 200, seed_sd: float = 0.0, task_sd: float = 0.0
) -> list[Scores]:
    rng = np.random.default_rng(1)
    drawn: list[Scores] = []
    for _ in range(layers):
        own_N = 0.5 + rng.normal(0, task_sd, tasks)
        drawn.append(
            {s: own_N + rng.normal(0, seed_sd) + rng.normal(0, 0.1, tasks) for s in range(seeds)}
        )
    return drawn


def made(
    true: list[float], *, noise: float = 0.0, rng: np.random.Generator | None = None
) -> Contrasts:
    found = contrast(gains(true, noise=noise, rng=rng), len(true), scores(len(true)))
    assert found is not None
    return found


def test_a_line_has_its_slope_and_no_curvature() -> None:
    found = made([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.slope.value == pytest.approx(0.4)
    assert found.curvature.value == pytest.approx(0.0, abs=1e-9)


def test_an_arch_has_its_rise_as_curvature() -> None:
    # 0.3 above the ends' mean in the middle: g = 1.2 x (1 - x).
    found = made([1.2 * x * (1 - x) for x in np.linspace(0, 1, 7)])
    assert found.curvature.value == pytest.approx(0.3)
    assert found.slope.value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("depths", [[0.0, 0.1, 0.4, 1.0], [0.2, 0.3, 0.5, 0.6, 0.9]])
def test_weights_are_those_of_least_squares(depths: list[float]) -> None:
    gain_K = np.random.default_rng(2).normal(size=len(depths))
    linear_K, quadratic_K = polynomial_weights(depths)
    assert linear_K @ gain_K == pytest.approx(np.polyfit(depths, gain_K, 1)[0])
    assert quadratic_K @ gain_K == pytest.approx(np.polyfit(depths, gain_K, 2)[0])
    assert linear_K @ quadratic_K == pytest.approx(0, abs=1e-9)


def test_the_spread_between_layers_leaves_the_noise_out() -> None:
    true = [0.1, 0.2, 0.3, 0.4] * 8
    found = [made(true, noise=0.1, rng=np.random.default_rng(n)).spread.layers for n in range(20)]
    # The standard deviation of 32 such gains, n - 1: 0.1136.
    assert np.mean([f.value for f in found]) == pytest.approx(0.1136, abs=0.012)
    holds = [f.interval.low <= 0.1136 <= f.interval.high for f in found]
    assert np.mean(holds) >= 0.85


def test_seeds_and_tasks_have_their_own_spread() -> None:
    played = scores(40, seed_sd=0.05, task_sd=0.08)
    found = contrast(gains([0.1] * 40), 40, played)
    assert found is not None
    assert found.spread.seeds is not None
    assert found.spread.tasks is not None
    assert found.spread.seeds.value == pytest.approx(0.05, rel=0.2)
    assert found.spread.seeds.interval.low < 0.05 < found.spread.seeds.interval.high
    assert found.spread.tasks.value == pytest.approx(0.08, rel=0.05)


def test_one_seed_tells_neither() -> None:
    found = contrast(gains([0.1, 0.2, 0.3, 0.4]), 4, scores(4, seeds=1))
    assert found is not None
    assert (found.spread.seeds, found.spread.tasks) == (None, None)


def test_an_order_that_rests_on_its_lowest_layer_says_so() -> None:
    order = made([-0.5, 0.2, 0.2, 0.2, 0.2, 0.2], noise=0.05).reliability
    assert order.all > 0.9
    assert order.without_highest > 0.9
    assert order.without_lowest < 0.5
    assert order.without_both < 0.5


@pytest.mark.parametrize(("true", "kept"), [([0.2] * 8, 0.45), ([0.0] * 7 + [0.6], 0.05)])
def test_the_best_layers_gain_loses_what_picking_gave_it(true: list[float], kept: float) -> None:
    flattered: list[float] = []
    left: list[float] = []
    for n in range(60):
        best = made(true, noise=0.05, rng=np.random.default_rng(n)).best
        flattered.append(best.gain.value - true[best.layer])
        left.append(best.corrected.value - true[best.layer])
        assert best.corrected.value <= best.gain.value + 0.005
    # The largest of 8 equal ones lies 1.42 standard deviations too high: 0.071.
    assert np.mean(flattered) == pytest.approx(0.071 if true[0] else 0.0, abs=0.02)
    assert abs(np.mean(left)) <= kept * 0.071 + 0.01


def test_three_layers_have_no_contrasts() -> None:
    assert contrast(gains([0.1, 0.2, 0.3]), 3, scores(3)) is None
