import numpy as np
import pytest

from layerbench.benchmarks.stats.bootstrap import Scores
from layerbench.benchmarks.stats.sweep_power import PRIOR, Variances, measured

ALFWORLD = Variances(task=0.02, episode=0.33, training=0.0012)
WEBSHOP = Variances(task=0.02, episode=0.23, training=0.0014)
GAIN = 0.225


@pytest.mark.parametrize(
    ("variances", "gain", "tests", "seeds", "tasks"),
    [
        # A difference of 0.2 in C, one planned test: z = 1.95996 + 0.84162 = 2.80158.
        # ALFWorld: (0.2 * 0.225 / 2.80158)^2 - 0.0012 / 10 = 0.000138; 0.053 / 0.000138 = 384.
        (ALFWORLD, GAIN, 1, 10, 384),
        (WEBSHOP, 0.266, 1, 8, 263),
        # Holm's first step over six tests: z = 2.63826 + 0.84162.
        (ALFWORLD, GAIN, 6, 15, 482),
        (WEBSHOP, 0.266, 6, 10, 459),
    ],
)
def test_the_tables_numbers_of_tasks(
    variances: Variances, gain: float, tests: int, seeds: int, tasks: int
) -> None:
    found = variances.tasks_for(0.2 * gain, seeds=seeds, tests=tests)
    assert found == pytest.approx(tasks, abs=1)
    assert variances.seeds_for(0.2 * gain, tasks=tasks + 2, tests=tests) == seeds


def test_three_seeds_take_more_than_any_number_of_tasks_at_a_small_gain() -> None:
    assert ALFWORLD.tasks_for(0.2 * GAIN, seeds=3) is None
    assert ALFWORLD.tasks_for(0.2 * 0.5, seeds=3) == 149
    # 0.02 / 100 is more than (0.01 / 2.8)^2.
    assert ALFWORLD.seeds_for(0.01, tasks=100) is None


def test_what_a_design_detects_is_what_it_takes() -> None:
    difference = ALFWORLD.detectable(seeds=10, tasks=384)
    assert difference == pytest.approx(0.045, abs=1e-4)
    error = ALFWORLD.standard_error(seeds=10, tasks=384)
    # sqrt(0.02/384 + 0.33/3840 + 0.0012/10).
    assert error == pytest.approx(0.016067, abs=1e-5)
    assert ALFWORLD.detectable(seeds=10, tasks=384, tests=6) > difference


def drawn(rng: np.random.Generator, seeds: int) -> dict[str, Scores]:
    """Scores whose pairs have variances of 0.02 by task, 0.18 by episode, 0.002 by training."""
    selections: dict[str, Scores] = {}
    for layer in range(8):
        task_N = rng.normal(0.5, np.sqrt(0.01), 200)
        training = rng.normal(0, np.sqrt(0.001), seeds)
        selections[str(layer)] = {
            seed: task_N + training[seed] + rng.normal(0, np.sqrt(0.09), 200)
            for seed in range(seeds)
        }
    return selections


def test_variances_are_those_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    sweeps = [measured(drawn(rng, seeds=3)) for _ in range(30)]
    assert None not in sweeps
    means = {n: np.mean([getattr(v, n) for v in sweeps]) for n in ("task", "episode", "training")}
    assert means["task"] == pytest.approx(0.02, rel=0.1)
    assert means["episode"] == pytest.approx(0.18, rel=0.05)
    assert means["training"] == pytest.approx(0.002, rel=0.25)


def test_one_seed_leaves_the_luck_of_training_to_the_prior() -> None:
    found = measured(drawn(np.random.default_rng(1), seeds=1))
    assert found is not None
    assert found.training == PRIOR.training
    assert found.task + found.episode == pytest.approx(0.2, rel=0.1)


def test_one_selection_tells_nothing() -> None:
    [first, *_] = drawn(np.random.default_rng(2), seeds=3).values()
    assert measured({"1": first}) is None
    assert measured({}) is None
    seconds: Scores = {7: first[0]}
    assert measured({"1": first, "2": seconds}) is None
