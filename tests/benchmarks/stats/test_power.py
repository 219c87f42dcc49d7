import numpy as np
import pytest

from layerbench.benchmarks.stats.paired_test import sign_flip_test
from layerbench.benchmarks.stats.power import seen_by_interval, seen_by_sign_test


@pytest.mark.parametrize(("tasks", "discordant"), [(16, 0.4), (64, 0.2), (128, 0.35)])
def test_the_sign_test_sees_that_difference_in_80_of_100(tasks: int, discordant: float) -> None:
    difference = seen_by_sign_test(discordant, tasks=tasks)
    assert difference is not None
    share = max(discordant, difference)
    chances = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    rng = np.random.default_rng(0)
    draws = rng.choice([1, -1, 0], p=chances, size=(1000, tasks))
    seen = np.mean([sign_flip_test(draw).p_value <= 0.05 for draw in draws])
    # Three standard errors of 1000 draws are 0.038.
    assert seen == pytest.approx(0.8, abs=0.038)


def test_more_tasks_see_smaller_differences_and_more_discordance_larger_ones() -> None:
    by_tasks = [seen_by_sign_test(0.3, tasks=tasks) or 2 for tasks in (16, 32, 64, 256, 1024)]
    assert by_tasks == sorted(by_tasks, reverse=True)
    by_discordance = [seen_by_sign_test(share, tasks=128) or 2 for share in (0.0, 0.1, 0.3, 0.9)]
    assert by_discordance == sorted(by_discordance)


def test_five_tasks_can_show_nothing() -> None:
    # 5 of 5 won by one side: p = 2 / 32 > 0.05.
    assert seen_by_sign_test(0.2, tasks=5) is None
    # 6 of 6, p = 2 / 64: they must all differ, in 80 of 100 cases: 0.8^(1/6) = 0.9635.
    assert seen_by_sign_test(0.2, tasks=6) == pytest.approx(0.9635, abs=1e-4)


def test_an_interval_sees_what_lies_its_half_width_and_more_from_0() -> None:
    # (1.9600 + 0.8416) standard errors, of which the half width is 1.9600.
    assert seen_by_interval(0.196) == pytest.approx(0.28016, abs=1e-4)
    assert seen_by_interval(0.8) is None
