import numpy as np
import pytest

from layerbench.benchmarks.stats import bootstrap
from layerbench.benchmarks.stats.bootstrap import Resampler, task_weights
from layerbench.benchmarks.stats.success import RESAMPLES


def scores(*by_seed: list[float]) -> dict[int, np.ndarray]:
    return {seed: np.array(rates) for seed, rates in enumerate(by_seed)}


def noisy(rng: np.random.Generator, *seed_means: float, tasks: int = 64) -> dict[int, np.ndarray]:
    return {seed: (rng.random(tasks) < mean).astype(float) for seed, mean in enumerate(seed_means)}


def test_task_weights_are_shares_of_a_draw_with_replacement() -> None:
    weights_SN = task_weights(5, 0)
    assert weights_SN.shape == (RESAMPLES, 5)
    np.testing.assert_allclose(weights_SN.sum(axis=1), 1.0)
    assert set(np.unique(np.round(weights_SN * 5)).tolist()) <= {0, 1, 2, 3, 4, 5}


def test_equal_lists_of_tasks_share_their_weights_and_other_lists_do_not() -> None:
    assert task_weights(6, 1) is task_weights(6, 1)
    assert not np.array_equal(task_weights(6, 1), task_weights(6, 2))


def test_what_no_seed_moves_varies_as_the_bootstrap_over_tasks() -> None:
    rates = [0.0, 1.0, 1.0, 0.0, 1.0]
    drawn_S = Resampler({"none": scores(rates)}, untrained=["none"]).rates("none", [0])
    np.testing.assert_allclose(drawn_S, task_weights(5, 0) @ np.array(rates))


def test_mean_squares_are_those_of_a_two_way_layout() -> None:
    # Rows (1, 0) and (1, 1): grand mean 3/4, row means 1/2 and 1, column means 1 and 1/2.
    # Between seeds: 2 tasks * (2 * (1/4)^2) / 1 = 1/4. Rests are all +-1/4: 4 * 1/16 / 1 = 1/4.
    squares = bootstrap._mean_squares(np.array([[1.0, 0.0], [1.0, 1.0]]))  # pyright: ignore[reportPrivateUsage]
    assert (squares.between, squares.within, squares.freedom) == (0.25, 0.25, 1)


def test_one_seed_has_no_freedom_to_tell_how_seeds_vary() -> None:
    alone = Resampler({"0": scores([1.0, 0.0])})
    assert not alone.knows_seeds()
    np.testing.assert_allclose(alone.rates("0", [0]), task_weights(2, 0) @ np.array([1.0, 0.0]))


def test_seeds_that_differ_widen_the_draws() -> None:
    rng = np.random.default_rng(0)
    close = Resampler({"0": noisy(rng, 0.5, 0.5, 0.5)}).rates("0", range(3))
    apart = Resampler({"0": noisy(rng, 0.2, 0.5, 0.8)}).rates("0", range(3))
    # The mean of three seeds 0.2, 0.5, 0.8 has a standard error of 0.3 / sqrt(3) = 0.17, where
    # one of 64 fair tosses a seed has 0.5 / sqrt(192) = 0.04.
    quartiles = [np.subtract(*np.quantile(draws, [0.75, 0.25])) for draws in (close, apart)]
    assert quartiles[1] > 3 * quartiles[0]


def test_few_seeds_give_the_tails_of_students_t() -> None:
    # Seeds differ, tasks do not, and nothing is borrowed: draws are t with 2 degrees.
    rates = scores([0.45] * 8, [0.5] * 8, [0.55] * 8)
    drawn_S = Resampler({"0": rates}).rates("0", range(3))
    error = 0.05 / np.sqrt(3)
    reach = np.quantile(np.abs(drawn_S - 0.5), 0.95)
    assert reach == pytest.approx(4.303 * error, rel=0.1)


def test_no_draw_leaves_the_rates_there_are() -> None:
    drawn_S = Resampler({"0": scores([0.1] * 8, [0.9] * 8)}).rates("0", range(2))
    assert (drawn_S.min(), drawn_S.max()) == (0.0, 1.0)


def test_a_selection_borrows_from_the_others_how_far_seeds_move() -> None:
    rng = np.random.default_rng(1)
    still = noisy(rng, 0.5, 0.5, 0.5)
    restless = {str(k): noisy(rng, 0.1, 0.5, 0.9) for k in range(1, 5)}
    alone = Resampler({"0": still}).rates("0", range(3))
    among = Resampler({"0": still, **restless}).rates("0", range(3))
    assert among.std() > 1.5 * alone.std()


def test_draws_do_not_depend_on_the_order_of_the_selections() -> None:
    rng = np.random.default_rng(2)
    a, b = noisy(rng, 0.4, 0.5), noisy(rng, 0.6, 0.5)
    one, other = Resampler({"a": a, "b": b}), Resampler({"b": b, "a": a})
    np.testing.assert_allclose(one.rates("a", [0, 1]), other.rates("a", [0, 1]))


def test_equal_selections_of_two_sweeps_have_luck_of_their_own() -> None:
    rng = np.random.default_rng(3)
    one = Resampler({"7": noisy(rng, 0.2, 0.5, 0.8)}).rates("7", range(3))
    other = Resampler({"7": noisy(rng, 0.2, 0.5, 0.8)}, task_seed=1).rates("7", range(3))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2
