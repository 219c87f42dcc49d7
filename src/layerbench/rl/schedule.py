"""What a run does when: its settings, and all that follows from its seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from layerbench.envs.types import Task
from layerbench.rl.advantages import AdvantageSettings
from layerbench.rl.losses import LossSettings
from layerbench.rl.update import UpdateSettings

# Each use of the seed draws from a stream of its own, so that none can shift another.
_ORDER, _EPISODE, _SHUFFLE, _ADAPTERS = 0, 1, 2, 3


_AT_LEAST_ONE = (
    "iterations",
    "tasks_per_iteration",
    "group_size",
    "epochs",
    "minibatches",
    "micro_batch_tokens",
    "checkpoint_every",
)
_POSITIVE = ("learning_rate", "grad_clip", "temperature")
_NOT_NEGATIVE = ("weight_decay", "warmup_iterations", "lora_rank", "seed")


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a run trains.

    Attributes:
        iterations: Rounds of playing and updating.
        tasks_per_iteration: Groups played each iteration.
        group_size: Episodes of one task in a group.
        learning_rate: AdamW's, after the warm-up.
        weight_decay: AdamW's.
        warmup_iterations: Iterations in which the learning rate rises linearly; 0 for none.
        grad_clip: Largest gradient norm of an optimizer step.
        epochs: Passes over an iteration's episodes.
        minibatches: Optimizer steps a pass.
        micro_batch_tokens: Tokens, with padding, that go through the model at once.
        temperature: At which training episodes are sampled, above 0.
        checkpoint_every: Iterations between checkpoints; the last one always gets its own.
        dynamic_sampling: Drop groups of equal scores, and play others in their place.
        lr_scale: Multiplier of the learning rate by decoder block; 1 for those not named.
        gradient_checkpointing: Compute what is inside a decoder block again for its gradients.
        lora_rank: Rank of the adapters that learn in the place of matrices; 0 for none.
        seed: Decides the order of tasks, the episodes' sampling, the optimizer batches, and what
            adapters begin with.
        advantages: How rewards become advantages.
        loss: What is minimised.

    Raises:
        ValueError: A value lies outside its range.
    """

    iterations: int
    tasks_per_iteration: int
    group_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup_iterations: int = 0
    grad_clip: float = 1.0
    epochs: int = 1
    minibatches: int = 1
    micro_batch_tokens: int = 4096
    temperature: float = 1.0
    checkpoint_every: int = 10
    dynamic_sampling: bool = False
    lr_scale: Mapping[int, float] = field(default_factory=dict[int, float])
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    seed: int = 0
    advantages: AdvantageSettings = field(default_factory=AdvantageSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in _POSITIVE:
            if getattr(self, name) <= 0.0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    def for_update(self) -> UpdateSettings:
        """Give the part that the optimizer steps need."""
        return UpdateSettings(
            loss=self.loss,
            epochs=self.epochs,
            minibatches=self.minibatches,
            micro_batch_tokens=self.micro_batch_tokens,
            grad_clip=self.grad_clip,
            temperature=self.temperature,
            gradient_checkpointing=self.gradient_checkpointing,
        )


def learning_rate(settings: TrainSettings, iteration: int) -> float:
    """Give the learning rate of an iteration, from 0: constant after a linear warm-up."""
    if iteration >= settings.warmup_iterations:
        return settings.learning_rate
    return settings.learning_rate * (iteration + 1) / settings.warmup_iterations


def episode_seed(*path: int) -> int:
    """Derive an episode's sampling seed from where it stands in the run.

    Args:
        path: The run's seed, then numbers that name the episode, all at least 0.
    """
    sequence = np.random.SeedSequence((path[0], _EPISODE, *path[1:]))
    # 63 bits fit a signed integer, wherever the seed ends up.
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def adapter_seed(seed: int) -> int:
    """Derive what adapters begin with from the run's seed."""
    return int(_generator(seed, _ADAPTERS).integers(2**63))


def task_at(tasks: Sequence[Task], position: int, *, seed: int) -> Task:
    """Give the task at a position of the run: the list again and again, shuffled each time.

    Args:
        tasks: The list, in its fixed order.
        position: Tasks drawn before, from 0.
        seed: The run's.
    """
    turn, place = divmod(position, len(tasks))
    order = _generator(seed, _ORDER, turn).permutation(len(tasks))
    return tasks[int(order[place])]


def shuffle_generator(seed: int, iteration: int) -> np.random.Generator:
    """Make the generator that shuffles an iteration's optimizer batches."""
    return _generator(seed, _SHUFFLE, iteration)


def _generator(seed: int, *path: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, *path)))
