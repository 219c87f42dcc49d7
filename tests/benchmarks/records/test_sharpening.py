"""Each policy's best temperature, and gains at them."""

from hypothesis import given
from hypothesis import strategies as st

from layerbench.benchmarks.records import sharpening, temperature_table
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.stats.success import (
    Count,
    Estimate,
    Interval,
    TaskOutcome,
    paired_difference,
    paired_difference_of_rates,
)
from tests.support.record_example import evaluation, example_at_temperatures

WINS = st.tuples(*[st.integers(0, 1)] * 4)


def validation(phase: str, wins: dict[float, tuple[int, ...]]) -> list[Evaluation]:
    return [evaluation(phase, won, split="train", temperature=t) for t, won in wins.items()]


@given(st.lists(WINS, min_size=1, max_size=4))
def test_the_best_temperature_is_the_first_of_those_with_most_won(
    wins: list[tuple[int, ...]],
) -> None:
    by_temperature = {float(place): won for place, won in enumerate(wins)}
    played = validation("base", by_temperature)
    # Scored tasks say nothing about it.
    played += [evaluation("base", (1, 1, 1, 1), temperature=9.0)]
    totals = [sum(won) for won in wins]
    best = sharpening.best_temperatures(played, validation_split="train")
    assert best == {"base": float(totals.index(max(totals)))}


def test_without_validation_tasks_there_is_no_best_temperature() -> None:
    played = [evaluation("base", (1, 0)), evaluation("final", (1, 1))]
    assert sharpening.best_temperatures(played, validation_split="") == {}
    assert not sharpening.best_differences(played, {}, splits=("seen",), base="base", final="final")


def test_each_policy_is_compared_at_its_own_best_temperature() -> None:
    record = example_at_temperatures()
    assert record.best_temperatures == {"base": 0.0, "final": 1.0}
    assert record.differences["seen"].difference == 0.5
    # What training gained, a lower temperature gave as well.
    assert record.best_differences["seen"].difference == 0.0
    [line] = temperature_table.verdicts(record)
    assert line.startswith("seen: NOT CLEAR OF the untrained base at its best temperature (greedy,")


@given(WINS, WINS)
def test_rates_of_one_episode_a_task_give_the_paired_difference(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    base, final = (evaluation(p, w).outcomes for p, w in (("base", before), ("final", after)))
    assert paired_difference_of_rates(base, final) == paired_difference(base, final)


def test_a_task_counts_once_whatever_its_episodes() -> None:
    sampled = [TaskOutcome("a", "", Count(4, 0, 1)), TaskOutcome("b", "", Count(4, 0, 3))]
    greedy = [TaskOutcome("a", "", Count(1, 0, 1)), TaskOutcome("b", "", Count(1, 0, 1))]
    assert paired_difference_of_rates(sampled, greedy).difference == 0.5


def test_verdicts_say_what_the_interval_allows() -> None:
    base = evaluation("base", (1, 0, 0, 0), temperature=0.5)
    for value, low, high, words in (
        (0.3, 0.1, 0.5, "better than the untrained base at its best temperature (at T=0.5, 0.25)"),
        (-0.3, -0.5, -0.1, "WORSE than the untrained base"),
        (0.1, -0.1, 0.3, "NOT CLEAR OF the untrained base"),
        (0.0, 0.0, 0.0, "NOT CLEAR OF the untrained base"),
    ):
        estimate = Estimate(value, Interval(low, high))
        assert temperature_table.verdict(estimate, base).startswith(words)
