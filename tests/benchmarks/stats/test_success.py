import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerbench.benchmarks.stats.success import (
    Count,
    TaskOutcome,
    interval_of,
    paired_difference,
    pool,
    pool_by_type,
    pooled,
    success_interval,
)


def outcome(task: str, successes: int, *, planned: int = 1, kind: str = "") -> TaskOutcome:
    return TaskOutcome(task, kind, Count(planned=planned, failed=0, successes=successes))


def test_interval_is_wilsons() -> None:
    # Wilson, z = 1.959964, p = 0.2, n = 10: centre (0.2 + z2/20) / (1 + z2/10) = 0.28328,
    # half width z/(1 + z2/10) * sqrt(0.2*0.8/10 + z2/400) = 0.22656.
    interval = success_interval(successes=2, episodes=10)
    assert interval.low == pytest.approx(0.05668, abs=1e-5)
    assert interval.high == pytest.approx(0.50984, abs=1e-5)


def test_no_episodes_give_no_interval() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        success_interval(successes=0, episodes=0)


def test_no_episodes_give_no_rate() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        _ = pool([]).rate


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_rate_and_stays_a_rate(case: tuple[int, int]) -> None:
    successes, episodes = case
    interval = success_interval(successes=successes, episodes=episodes)
    assert 0 <= interval.low <= successes / episodes <= interval.high <= 1


def test_one_episode_a_task_is_wilsons_interval() -> None:
    outcomes = [outcome(str(n), int(n < 2)) for n in range(10)]
    assert interval_of(pooled(outcomes)) == success_interval(successes=2, episodes=10)


@given(
    st.integers(2, 6).flatmap(
        lambda most: st.lists(st.integers(0, most), min_size=1, max_size=40).map(
            lambda won: [outcome(str(n), w, planned=most) for n, w in enumerate(won)]
        )
    )
)
def test_episodes_of_a_task_count_as_one_to_all(outcomes: list[TaskOutcome]) -> None:
    found = pooled(outcomes)
    assert len(outcomes) - 1e-9 <= found.independent <= found.planned
    interval = interval_of(found)
    assert interval.low - 1e-9 <= found.rate <= interval.high + 1e-9


def test_tasks_whose_episodes_end_alike_count_once_whatever_the_seed() -> None:
    seed = [outcome(str(n), int(n < 3)) for n in range(10)]
    assert pooled([*seed, *seed]).independent == pytest.approx(10.0)
    # Tasks that differ by chance alone count fully.
    even = [outcome(str(n), 2, planned=4) for n in range(10)]
    assert pooled(even).independent == 40.0


def test_a_failed_episode_is_a_loss() -> None:
    count = Count(planned=4, failed=1, successes=2)
    assert count.scored == 3
    assert count.rate == 0.5


def test_counts_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="3 successes and 1 failed"):
        Count(planned=3, failed=1, successes=3)


def test_pools_add_up_by_type() -> None:
    outcomes = [outcome("a", 1, kind="y"), outcome("b", 2, planned=3, kind="x"), outcome("c", 0)]
    assert pool(outcomes) == Count(planned=5, failed=0, successes=3)
    assert pool_by_type(outcomes) == {
        "": Count(planned=1, failed=0, successes=0),
        "x": Count(planned=3, failed=0, successes=2),
        "y": Count(planned=1, failed=0, successes=1),
    }
    assert list(pool_by_type(outcomes)) == ["", "x", "y"]


def test_difference_is_after_minus_before() -> None:
    base = [outcome("a", 0), outcome("b", 1), outcome("c", 0), outcome("d", 0)]
    final = [outcome("a", 1), outcome("b", 1), outcome("c", 1), outcome("d", 0)]
    found = paired_difference(base, final)
    assert found.difference == 0.5  # (3 - 1) / 4
    assert found.tasks == 4
    # Mean of 4 draws from gains {1, 0, 1, 0}: P(0 ones) = 1/16 > 2.5 %, so the ends are 0 and 1.
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)


def test_equal_outcomes_differ_by_exactly_nothing() -> None:
    outcomes = [outcome("a", 1), outcome("b", 0)]
    found = paired_difference(outcomes, outcomes)
    assert (found.difference, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)


def test_interval_is_close_to_the_normal_one_for_many_tasks() -> None:
    rng = np.random.default_rng(0)
    base = [outcome(str(i), int(rng.random() < 0.3)) for i in range(400)]
    final = [outcome(str(i), int(rng.random() < 0.6)) for i in range(400)]
    gains = np.array(
        [f.count.successes - b.count.successes for b, f in zip(base, final, strict=True)]
    )
    half = 1.96 * gains.std() / np.sqrt(400)
    found = paired_difference(base, final)
    assert found.interval.low == pytest.approx(gains.mean() - half, abs=0.005)
    assert found.interval.high == pytest.approx(gains.mean() + half, abs=0.005)


def test_same_seed_gives_the_same_interval() -> None:
    base = [outcome(str(i), i % 2) for i in range(15)]
    final = [outcome(str(i), int(i % 3 > 0)) for i in range(15)]
    assert paired_difference(base, final, seed=7) == paired_difference(base, final, seed=7)


def test_other_tasks_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="the same tasks"):
        paired_difference([outcome("a", 1)], [outcome("b", 1)])


def test_no_tasks_give_no_difference() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        paired_difference([], [])
