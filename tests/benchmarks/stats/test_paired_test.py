from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Int
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from layerbench.benchmarks.stats.paired_test import (
    LARGEST_EXACT,
    Method,
    mean_interval,
    sign_flip_test,
)


def test_one_episode_a_task_is_the_sign_test_on_discordant_tasks() -> None:
    # 10 wins and 2 losses: 2 * (1 + 12 + 66) / 2^12.
    found = sign_flip_test(np.array([1] * 10 + [-1] * 2 + [0] * 5))
    assert found.p_value == pytest.approx(158 / 4096)
    assert found.method is Method.SIGN


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_scipys(wins: int, losses: int) -> None:
    found = sign_flip_test(np.array([1] * wins + [-1] * losses, np.int64))
    test = stats.binomtest(wins, max(wins + losses, 1))  # pyright: ignore[reportUnknownMemberType]
    expected = test.pvalue if wins + losses else 1.0
    assert found.p_value == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_several_episodes_are_the_share_of_all_flips(differences: list[int]) -> None:
    as_far = [
        abs(sum(d * sign for d, sign in zip(differences, signs, strict=True)))
        >= abs(sum(differences))
        for signs in product((1, -1), repeat=len(differences))
    ]
    found = sign_flip_test(np.array(differences))
    assert found.p_value == pytest.approx(sum(as_far) / len(as_far), rel=1e-9)


def normal_p(differences_N: Int[np.ndarray, " N"]) -> float:
    z = abs(differences_N.sum()) / np.sqrt(np.square(differences_N).sum())
    return 2 * (1 - NormalDist().cdf(float(z)))


def test_many_flips_agree_with_all_flips() -> None:
    rng = np.random.default_rng(0)
    few = rng.integers(-8, 10, size=400)
    many = np.concatenate([few] * 12)
    # The same mean over 12 times the tasks: the normal limit of both.
    assert np.abs(few).sum() < LARGEST_EXACT < np.abs(many).sum()
    found = sign_flip_test(many)
    assert found.method is Method.RANDOM_FLIP
    assert found.p_value == pytest.approx(normal_p(many), abs=0.005)
    exact = sign_flip_test(few)
    assert exact.method is Method.FLIP
    assert exact.p_value == pytest.approx(normal_p(few), abs=0.01)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_the_interval_holds_the_mean_and_turns_with_its_sign(values: list[float]) -> None:
    differences_N = np.array(values)
    interval = mean_interval(differences_N)
    assert -1 <= interval.low <= differences_N.mean() <= interval.high <= 1
    mirrored = mean_interval(-differences_N)
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))
    narrow = mean_interval(differences_N, confidence=0.9)
    assert interval.low <= narrow.low <= narrow.high <= interval.high


def test_the_interval_is_agrestis_and_mins() -> None:
    # 8 wins, 2 losses, 30 ties: mean 6/42, variance (10 + 1)/42 - (6/42)^2 = 0.241497,
    # half width 1.959964 * sqrt(0.241497 / 42) = 0.148620.
    interval = mean_interval(np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 30))
    assert interval.low == pytest.approx(6 / 42 - 0.148620, abs=1e-6)
    assert interval.high == pytest.approx(6 / 42 + 0.148620, abs=1e-6)


def test_tasks_that_all_agree_still_leave_a_width() -> None:
    interval = mean_interval(np.zeros(128))
    assert -0.02 < interval.low < 0 < interval.high < 0.02


def test_no_tasks_give_no_interval() -> None:
    with pytest.raises(ValueError, match="no tasks"):
        mean_interval(np.zeros(0))
