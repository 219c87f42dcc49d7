"""The schedule of a run: learning rates, and everything random, derived from its seed."""

from collections.abc import Sequence

import numpy as np

from layerbench.envs.types import Task
from layerbench.rl.settings import Schedule, TrainSettings
from layerbench.rl.types import LayerSelection

# Each use of the seed draws from a stream of its own, so that none can shift another.
_ORDER, _EPISODE, _SHUFFLE, _ADAPTERS = 0, 1, 2, 3


def learning_rate(settings: TrainSettings, selection: LayerSelection, iteration: int) -> float:
    """Give the learning rate of an iteration, from 0, before any multiplier."""
    peak, warmup = peak_learning_rate(settings, selection), settings.warmup
    # Never 0: the episodes of such an iteration would be played for nothing.
    if iteration < warmup:
        return peak * (iteration + 1) / warmup
    if settings.schedule is Schedule.LINEAR:
        return peak * (settings.iterations - iteration) / (settings.iterations - warmup)
    return peak


def peak_learning_rate(settings: TrainSettings, selection: LayerSelection) -> float:
    """Give the learning rate after the warm-up, before any multiplier.

    Floor controls have ``control_learning_rate``, adapters ``lora_learning_rate`` if it is not 0.
    Else ``layer_learning_rate`` is for one layer alone, and ``learning_rate`` for several layers,
    ``all-layers`` and ``full``.
    """
    if selection.is_control:
        return settings.control_learning_rate
    if settings.lora_rank and settings.lora_learning_rate:
        return settings.lora_learning_rate
    # Alone, most layers of the embedded model bear ten times the rate of full training; three
    # together did not: docs/LOG.md, 2026-11-22 and 2026-11-29.
    return settings.layer_learning_rate if selection.is_alone else settings.learning_rate


def episode_seed(*path: int) -> int:
    """Derive an episode's sampling seed from its position in the run.

    Args:
        path: The run's seed, then numbers that name the episode, all at least 0.
    """
    sequence = np.random.SeedSequence((path[0], _EPISODE, *path[1:]))
    # 63 bits fit a signed integer, in any library that takes the seed.
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def adapter_seed(seed: int) -> int:
    """Derive the seed of the adapters' first weights from the run's seed."""
    return int(_generator(seed, _ADAPTERS).integers(2**63))


def task_at(tasks: Sequence[Task], position: int, *, seed: int) -> Task:
    """Give the task at a position of the run: the list again and again, shuffled each time.

    Args:
        tasks: The list, in its fixed order.
        position: Tasks drawn before, from 0.
        seed: The run's seed.
    """
    epoch, index = divmod(position, len(tasks))
    # Derived from the epoch's number alone, so that a resumed run needs only its position.
    order = _generator(seed, _ORDER, epoch).permutation(len(tasks))
    return tasks[int(order[index])]


def shuffle_generator(seed: int, iteration: int) -> np.random.Generator:
    """Make the generator that shuffles an iteration's optimizer batches."""
    return _generator(seed, _SHUFFLE, iteration)


def _generator(seed: int, *path: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, *path)))
