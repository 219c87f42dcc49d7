"""The evaluations that settings ask for: on which split, and at which temperature."""

from collections.abc import Iterator
from dataclasses import dataclass

from layerbench.benchmarks.config.schema import RunConfig


@dataclass(frozen=True, slots=True)
class PlannedEvaluation:
    """One evaluation of a policy.

    Attributes:
        split: Split of the tasks; that of training for the validation tasks.
        temperature: Sampling temperature; 0 is greedy.
        episodes_per_task: Number of episodes of each task.
        validates: It is of validation tasks, which choose the temperature and count nowhere else.
        is_main: It is of the first temperature on scored tasks, which success is the success of.
    """

    split: str
    temperature: float
    episodes_per_task: int
    validates: bool = False
    is_main: bool = True


def planned(config: RunConfig, *, all_temperatures: bool) -> list[PlannedEvaluation]:
    """List the evaluations of one policy, in the order played.

    Args:
        config: The settings.
        all_temperatures: At all of them, as the base and what was learned; else at the first one
            alone, as during training.
    """
    temperatures = config.eval.temperatures if all_temperatures else config.eval.temperatures[:1]
    splits = [(split, False) for split in config.env.eval_splits]
    if validates(config):
        splits.append((config.env.train_split, True))
    return [
        PlannedEvaluation(
            split,
            temperature,
            episodes_a_task(config, temperature),
            validates=validating,
            is_main=not validating and temperature == temperatures[0],
        )
        for split, validating in splits
        for temperature in temperatures
    ]


def validates(config: RunConfig) -> bool:
    """Tell whether validation tasks are played, which choose each policy's best temperature."""
    return (
        config.eval.valid_tasks > 0
        # Where nothing is scored, as by `layerbench tune`, they choose something else.
        and (len(config.eval.temperatures) > 1 or not config.env.eval_splits)
        # What is scored must not choose.
        and config.env.train_split not in config.env.eval_splits
    )


def keeps_best(config: RunConfig) -> bool:
    """Tell whether the checkpoint with the highest success on the validation tasks is kept."""
    return validates(config) and any(phases_during(config))


def episodes_of_evaluations(config: RunConfig, *, tasks: int) -> int:
    """Count the episodes that the evaluations of a run have at most.

    Args:
        config: The settings.
        tasks: Number of scored tasks of all splits together.
    """
    each = [episodes_a_task(config, temperature) for temperature in config.eval.temperatures]
    played = tasks + (config.eval.valid_tasks if validates(config) else 0)
    # The best checkpoint is scored too, unless it is the last.
    policies = 3 if keeps_best(config) else 2
    return played * (policies * sum(each) + len(list(phases_during(config))) * each[0])


def episodes_a_task(config: RunConfig, temperature: float) -> int:
    """Give the number of episodes of each task at a temperature."""
    # Greedy episodes of a task are all the same.
    return config.eval.episodes_per_task if temperature else 1


def phases_during(config: RunConfig) -> Iterator[int]:
    """List the iterations after which a run is scored while it trains."""
    every, last = config.eval.every, config.train.iterations
    # Without the last iteration, which the final evaluation scores.
    yield from range(every, last, every) if every else ()
