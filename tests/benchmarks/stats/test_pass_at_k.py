"""pass@k is the share of subsets with a success, and its interval is over tasks."""

import itertools

import pytest

from layerbench.benchmarks.stats.pass_at_k import ks, over_tasks, pass_at_k
from layerbench.benchmarks.stats.success import Count, TaskOutcome


@pytest.mark.parametrize(("samples", "successes"), [(5, 0), (5, 1), (5, 3), (5, 5), (1, 1)])
def test_it_is_the_share_of_subsets_with_a_success(samples: int, successes: int) -> None:
    won = [place < successes for place in range(samples)]
    for k in range(1, samples + 1):
        subsets = [any(chosen) for chosen in itertools.combinations(won, k)]
        expected = sum(subsets) / len(subsets)
        assert pass_at_k(samples=samples, successes=successes, k=k) == pytest.approx(expected)


@pytest.mark.parametrize(("samples", "successes", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1)])
def test_what_cannot_be_is_refused(samples: int, successes: int, k: int) -> None:
    with pytest.raises(ValueError, match="do not give"):
        pass_at_k(samples=samples, successes=successes, k=k)


def outcomes(*successes: int, samples: int = 4) -> list[TaskOutcome]:
    return [
        TaskOutcome(f"task-{n}", "", Count(planned=samples, failed=0, successes=won))
        for n, won in enumerate(successes)
    ]


def test_the_interval_is_over_tasks() -> None:
    # All samples of a task agree, so that more of them say nothing about other tasks.
    few, many = (outcomes(*([0, n] * 20), samples=n) for n in (2, 50))
    assert over_tasks(few, k=1).interval == over_tasks(many, k=1).interval
    estimate = over_tasks(few, k=1)
    assert estimate.value == 0.5
    assert 0.3 < estimate.interval.low < 0.4 < 0.6 < estimate.interval.high < 0.7
    assert over_tasks(few, k=1) == estimate


def test_more_samples_succeed_more_often() -> None:
    played = outcomes(0, 1, 2, 4)
    values = [over_tasks(played, k=k).value for k in (1, *ks(4))]
    assert values == pytest.approx([7 / 16, (0.5 + 5 / 6 + 1) / 4, 3 / 4])


def test_without_tasks_there_is_none() -> None:
    with pytest.raises(ValueError, match="no tasks"):
        over_tasks([], k=1)
