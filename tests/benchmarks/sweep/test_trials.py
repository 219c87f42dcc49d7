import pytest

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.stats.success import Count
from layerbench.benchmarks.sweep import trials


def won(*counts: int) -> dict[float, Count]:
    rates = (1e-4, 3e-4, 1e-3, 3e-3)
    return {r: Count(10, 0, n) for r, n in zip(rates, counts, strict=False)}


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ((1, 5, 7, 2), (3e-4, 1e-3)),
        ((7, 0, 0, 8), (1e-4, 3e-3)),
        # Of equal ones the lower.
        ((4, 4, 4, 4), (1e-4, 3e-4)),
        ((0, 5, 3, 3), (3e-4, 1e-3)),
    ],
)
def test_the_two_best_are_tried_again(counts: tuple[int, ...], chosen: tuple[float, ...]) -> None:
    assert trials.finalists(won(*counts)) == chosen


def test_the_long_trials_decide_and_the_short_ones_where_they_are_equal() -> None:
    short = won(9, 5)
    assert trials.best_rate(short, won(3, 6)) == 3e-4
    assert trials.best_rate(short, won(6, 6)) == 1e-4
    assert trials.best_rate(won(5, 9), won(6, 6)) == 3e-4
    assert trials.best_rate(won(5, 5), won(6, 6)) == 1e-4


@pytest.mark.parametrize(
    "text", ["", "1e-3", "1e-3,", "1e-3,1e-3", "0,1e-3", "-1e-3,1e-3", "1e-3,99", "a,b", "1e-3,inf"]
)
def test_a_grid_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--grid"):
        trials.parse_grid(text)
