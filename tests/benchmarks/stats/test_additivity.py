import pytest

from layerbench.benchmarks.stats.additivity import BeforeAfter, add_up
from layerbench.benchmarks.stats.success import Count, Difference, Interval, TaskOutcome


def outcomes(wins: list[int], *, episodes: int = 1) -> list[TaskOutcome]:
    return [TaskOutcome(f"task-{i}", "", Count(episodes, 0, won)) for i, won in enumerate(wins)]


def scored(before: list[int], after: list[int], *, episodes: int = 1) -> BeforeAfter:
    return outcomes(before, episodes=episodes), outcomes(after, episodes=episodes)


def test_gains_of_other_tasks_add_up() -> None:
    base = [0, 0, 0, 0]
    parts = [scored(base, [1, 0, 0, 0]), scored(base, [0, 1, 0, 0])]
    addition = add_up(parts, scored(base, [1, 1, 0, 0]))
    # 1/4 + 1/4, and the combined model gains 2/4: nothing is left over, task by task.
    assert addition.total.difference == 0.5
    assert addition.surplus == Difference(0.0, Interval(0.0, 0.0), tasks=4)
    assert addition.verdict == "no departure from the sum of their gains is seen"


def test_gains_on_the_same_tasks_do_not_add_up() -> None:
    base, won = [0] * 40, [1] * 30 + [0] * 10
    parts = [scored(base, won), scored(base, won)]
    addition = add_up(parts, scored(base, won))
    # 0.75 each; together 0.75 less 1.5
    assert addition.total.difference == 1.5
    assert addition.surplus.difference == -0.75
    assert addition.surplus.interval.high < 0.0
    assert addition.verdict == "together they gain less than the sum of their gains"


def test_more_than_the_sum_is_said_so() -> None:
    base = [0] * 20
    addition = add_up([scored(base, base), scored(base, base)], scored(base, [1] * 20))
    assert addition.surplus.difference == 1.0
    assert addition.surplus.interval.low == pytest.approx(1.0)
    assert addition.verdict == "together they gain more than the sum of their gains"


def test_rates_are_over_episodes() -> None:
    parts = [scored([1, 0], [2, 1], episodes=4), scored([1, 0], [1, 2], episodes=4)]
    addition = add_up(parts, scored([1, 0], [3, 2], episodes=4))
    # (1 + 1) / 8 + (0 + 2) / 8, and (2 + 2) / 8 together
    assert addition.total.difference == 0.5
    assert addition.surplus.difference == 0.0


def test_surplus_is_resampled_in_pairs() -> None:
    # The sum is 1 on half the tasks and the combined gain follows it: resamples move together.
    base, half = [0] * 40, [1, 0] * 20
    addition = add_up([scored(base, half), scored(base, base)], scored(base, half))
    assert addition.total.interval.high - addition.total.interval.low > 0.2
    assert addition.surplus.interval == Interval(0.0, 0.0)


@pytest.mark.parametrize("other", [[0], [], [0, 0, 0]])
def test_other_tasks_are_refused(other: list[int]) -> None:
    with pytest.raises(ValueError, match="same tasks in the same order"):
        add_up([scored(other, other)], scored([0, 0], [0, 0]))


def test_no_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="same tasks in the same order"):
        add_up([scored([], [])], scored([], []))
