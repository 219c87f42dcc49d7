from layerbench.benchmarks.runs import evaluation
from layerbench.envs.types import Task


def seeds_of(*, training_seed: int, eval_seed: int = 0) -> list[int]:
    """Give the sampling seeds of two episodes of each of three tasks."""
    tasks = [Task(task_id=str(i), seed=i, options={}) for i in range(3)]
    requests = evaluation.requests(tasks, episodes_per_task=2, seeds=(eval_seed, training_seed))
    assert [request.task for request in requests] == [task for task in tasks for _ in range(2)]
    return [request.seed for request in requests]


def test_policies_of_one_training_seed_share_their_sampling_seeds() -> None:
    assert seeds_of(training_seed=1) == seeds_of(training_seed=1)


def test_training_seeds_have_independent_sampling_seeds() -> None:
    drawn = [*seeds_of(training_seed=0), *seeds_of(training_seed=1), *seeds_of(training_seed=2)]
    assert len(set(drawn)) == len(drawn)


def test_evaluation_and_training_seed_are_not_interchangeable() -> None:
    assert seeds_of(training_seed=1, eval_seed=2) != seeds_of(training_seed=2, eval_seed=1)
