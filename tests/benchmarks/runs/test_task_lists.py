"""Tasks to validate on are neither scored nor trained on."""

from layerbench.benchmarks.runs import resolve, task_lists


def ids(tasks: object) -> set[str]:
    return {task.task_id for task in tasks}  # pyright: ignore


def test_validation_tasks_are_of_the_training_split_and_not_trained_on() -> None:
    config = resolve.load("keydoor", ["eval.valid_tasks=40", "train.tasks=400"], preset="quick")
    lists = task_lists.list_tasks(config)
    assert (len(lists.validation), len(lists.train)) == (40, 400)
    assert not ids(lists.validation) & ids(lists.train)
    assert lists.evaluated(config).keys() == {"test", "train"}


def test_they_are_the_same_for_every_seed_and_selection() -> None:
    chosen = [
        task_lists.list_tasks(
            resolve.load("keydoor", [f"seed={seed}", f"layers={layers}"], preset="quick")
        ).validation
        for seed, layers in ((0, "none"), (1, "1"), (2, "full"))
    ]
    assert chosen[0] == chosen[1] == chosen[2]


def test_nothing_is_listed_where_nothing_is_validated_on() -> None:
    lists = task_lists.list_tasks(resolve.load("keydoor", ["eval.valid_tasks=0"], preset="quick"))
    assert lists.validation == ()
