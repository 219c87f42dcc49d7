import numpy as np
import pytest

from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.sweep_power import PRIOR, PRIOR_GAIN
from layerbench.benchmarks.sweep.power_lines import power_lines
from tests.support.leaderboard_example import run


def records(seeds: int, *, full: float = 0.6) -> list[RunRecord]:
    """Base, full and three layers on 60 tasks; full wins that share of them."""
    rng = np.random.default_rng(0)
    rates = {"full": full, "0": 0.3, "1": 0.4, "2": 0.5}

    def won(rate: float) -> list[int]:
        return rng.permutation([1] * round(60 * rate) + [0] * round(60 * (1 - rate))).tolist()

    return [
        run(name, seed, base=won(0.2), final=won(rate))
        for seed in range(seeds)
        for name, rate in rates.items()
    ]


def test_without_runs_the_priors_are_stated() -> None:
    first, price, by = power_lines([], split="seen", seeds=10, tasks=144, episodes=1)
    # 2.80158 * (0.015 / 144 + 0.27 / 1440 + 0.0048 / 10) ** 0.5 = 0.0778, of a gain of 0.39;
    # (0.015 + 0.27 / 10) / ((0.2 * 0.39 / 2.80158) ** 2 - 0.0048 / 10) = 142.3.
    assert "10 seeds x 144 tasks of seen tell two layers apart that differ by 0.08 in su" in first
    assert "0.20 in C (80 %, one planned test at 5 %)" in first
    assert price == "            0.2 in C takes 10 seeds with 144 tasks, or 143 tasks with 10 seeds"
    assert f"variances {PRIOR.task:g} (task), {PRIOR.episode:g} (episode)" in by
    assert f"full's gain taken as {PRIOR_GAIN:g}" in by


def test_several_episodes_a_task_are_less_luck() -> None:
    [*_, by] = power_lines([], split="seen", seeds=3, tasks=128, episodes=4)
    assert "0.0675 (episode)" in by


def test_finished_runs_give_the_variances_and_the_gain() -> None:
    _, price, by = power_lines(records(3), split="seen", seeds=3, tasks=60, episodes=1)
    assert by == "by          12 finished runs; full's gain +0.40 by finished runs"
    assert "0.2 in C takes " in price


def test_one_seed_says_that_the_luck_of_training_is_a_prior() -> None:
    [*_, by] = power_lines(records(1), split="seen", seeds=3, tasks=60, episodes=1)
    assert "4 finished runs, and a prior variance of training of 0.0048" in by


@pytest.mark.parametrize("full", [0.2, 0.1])
def test_a_full_training_that_gains_nothing_leaves_c_undefined(full: float) -> None:
    first, price, _ = power_lines(
        records(2, full=full), split="seen", seeds=3, tasks=60, episodes=1
    )
    assert " in C" not in first
    assert "C is undefined" in price


def test_runs_of_another_split_do_not_count() -> None:
    [*_, by] = power_lines(records(2), split="unseen", seeds=3, tasks=60, episodes=1)
    assert by.startswith("by          priors")
