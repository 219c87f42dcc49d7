"""Which checkpoint is the best one by the validation tasks."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from layerbench.benchmarks.records.best_iteration import best_iteration
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.stats.success import Count, TaskOutcome

TASKS = 10


def evaluation(
    phase: str, won: int, *, split: str = "train", temperature: float = 1.0
) -> Evaluation:
    outcomes = tuple(
        TaskOutcome(str(task), "", Count(planned=1, failed=0, successes=int(task < won)))
        for task in range(TASKS)
    )
    count = Count(planned=TASKS, failed=0, successes=won)
    return Evaluation(
        phase,
        split,
        temperature,
        count,
        {"": count},
        {"terminated": TASKS},
        outcomes,
        mean_turns=1.0,
        invalid_share=0.0,
        tokens=1,
        seconds=1.0,
        mean_return=won / TASKS,
    )


def best(during: Mapping[int, int], final: int, *, last: int = 40) -> int | None:
    evaluations = [evaluation("base", TASKS)]
    for iteration, won in during.items():
        # What is scored must not choose.
        evaluations.append(evaluation(f"iteration-{iteration}", TASKS - won, split="test"))
        evaluations.append(evaluation(f"iteration-{iteration}", won))
    evaluations += [evaluation("final", final), evaluation("final", TASKS, temperature=0.0)]
    return best_iteration(evaluations, validation_split="train", last=last)


def test_the_highest_success_counts_and_of_equal_ones_the_latest() -> None:
    assert best({10: 3, 20: 7, 30: 7}, final=5) == 30
    assert best({10: 3, 20: 7, 30: 6}, final=5) == 20
    assert best({10: 3, 20: 7, 30: 6}, final=7) == 40


def test_without_validation_during_training_there_is_none() -> None:
    assert best({}, final=5) is None
    evaluations = [evaluation("iteration-10", 3, split="test"), evaluation("final", 5)]
    assert best_iteration(evaluations, validation_split="train", last=40) is None
    assert best_iteration(evaluations, validation_split="", last=40) is None


@given(
    st.dictionaries(st.integers(1, 39), st.integers(0, TASKS), min_size=1), st.integers(0, TASKS)
)
def test_none_is_better(during: dict[int, int], final: int) -> None:
    during = dict(sorted(during.items()))
    chosen = best(during, final)
    scores = {**during, 40: final}
    assert chosen is not None
    assert scores[chosen] == max(scores.values())
    assert all(scores[later] < scores[chosen] for later in scores if later > chosen)
