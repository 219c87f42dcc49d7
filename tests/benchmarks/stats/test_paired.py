from collections.abc import Sequence

import numpy as np
import pytest

from layerbench.benchmarks.stats.contribution import Standing, holm, holm_adjusted
from layerbench.benchmarks.stats.paired import PairedDifference, Played, compare_played
from layerbench.benchmarks.stats.paired_test import Method
from layerbench.benchmarks.stats.success import Count, TaskOutcome


def played(*runs: Sequence[int], episodes: int = 1, trained: bool = True) -> Played:
    """What some runs won, by task; types are ``even`` and ``odd``."""
    return Played(
        {
            seed: tuple(
                TaskOutcome(f"t{place}", "odd" if place % 2 else "even", Count(episodes, 0, won))
                for place, won in enumerate(run)
            )
            for seed, run in enumerate(runs)
        },
        trained,
    )


def test_wins_losses_and_ties_are_of_tasks() -> None:
    found = compare_played(played([0, 0, 0, 1, 1, 0]), played([1, 1, 0, 0, 1, 1]))
    assert (found.wins, found.losses, found.ties, found.tasks) == (3, 1, 2, 6)
    assert found.difference.value == pytest.approx(2 / 6)
    # 3 of 4: 2 * (1 + 4) / 16.
    assert found.test.p_value == pytest.approx(10 / 16)
    assert found.standing is Standing.UNCLEAR


def test_sides_change_places_with_their_signs() -> None:
    rng = np.random.default_rng(1)
    a, b = (played(rng.integers(0, 5, size=40).tolist(), episodes=4) for _ in range(2))
    one, other = compare_played(a, b), compare_played(b, a)
    assert one.test == other.test
    assert one.test.method is Method.FLIP
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.difference.interval.low == pytest.approx(-other.difference.interval.high)
    assert (one.wins, one.losses) == (other.losses, other.wins)
    assert one.detectable == pytest.approx(other.detectable)


def test_several_samples_of_a_model_as_it_is_are_more_episodes() -> None:
    a = played([0, 1, 0, 1], [1, 1, 0, 0], trained=False)
    b = played([1, 1, 1, 1], [1, 0, 1, 1], trained=False)
    as_episodes = compare_played(played([1, 2, 0, 1], episodes=2), played([2, 1, 2, 2], episodes=2))
    assert compare_played(a, b) == as_episodes


def test_several_trainings_are_resampled() -> None:
    rng = np.random.default_rng(2)
    a = played(*(rng.random((3, 200)) < 0.3).astype(int).tolist())
    b = played(*(rng.random((3, 200)) < 0.6).astype(int).tolist())
    found = compare_played(a, b)
    assert found.test.method is Method.RESAMPLES
    assert found.standing is Standing.ABOVE
    assert found.difference.interval.low < found.narrow.low < found.narrow.high
    assert found.narrow.high < found.difference.interval.high


def test_margins_are_of_the_95_and_of_the_90_percent_interval() -> None:
    a, b = played([1] * 60 + [0] * 40), played([1] * 57 + [0] * 43)
    found = compare_played(a, b)
    low = found.difference.interval.low
    assert found.may_be_worse_than(-low - 0.001)
    assert not found.may_be_worse_than(-low)
    widest = max(-found.narrow.low, found.narrow.high)
    assert not found.is_within(widest)
    assert found.is_within(widest + 0.001)


def test_other_tasks_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="the same tasks"):
        compare_played(played([0, 1]), played([0, 1, 1]))
    with pytest.raises(ValueError, match="one list of tasks, got 2"):
        played([0, 1], [1])


def test_adjusted_p_values_reject_as_holm_does() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        p_values = (rng.random(6) ** 3).tolist()
        assert [p <= 0.05 for p in holm_adjusted(p_values)] == holm(p_values)


def share_of(found: Sequence[PairedDifference], truth: float) -> tuple[float, float]:
    """Shares of the intervals that hold the truth, and of the clear differences."""
    holds = [f.difference.interval.low <= truth <= f.difference.interval.high for f in found]
    clear = [f.standing is not Standing.UNCLEAR for f in found]
    return float(np.mean(holds)), float(np.mean(clear))


@pytest.mark.parametrize("truth", [0.0, 0.15])
def test_intervals_of_two_runs_hold_the_truth(truth: float) -> None:
    rng = np.random.default_rng(4)
    found: list[PairedDifference] = []
    for _ in range(500):
        # Tasks differ in difficulty, and the truth is the mean over all such tasks.
        chance_N = rng.uniform(0.1, 0.7, size=100)
        sides = [rng.binomial(2, chance_N + gain) for gain in (0.0, truth)]
        found.append(compare_played(*(played(s.tolist(), episodes=2) for s in sides)))
    holds, clear = share_of(found, truth)
    assert 0.93 <= holds <= 0.975
    assert clear <= 0.07 if truth == 0 else clear > 0.8


def test_intervals_of_several_trainings_hold_the_truth() -> None:
    rng = np.random.default_rng(5)
    found: list[PairedDifference] = []
    for _ in range(100):
        chance_N = rng.uniform(0.2, 0.6, size=40)
        sides: list[Played] = []
        for _ in range(2):
            effect_R = rng.normal(0, 0.03, size=(3, 1))
            sides.append(played(*rng.binomial(1, chance_N + effect_R).tolist()))
        found.append(compare_played(*sides))
    holds, clear = share_of(found, 0.0)
    assert holds >= 0.9
    assert clear <= 0.1
