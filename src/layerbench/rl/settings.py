"""The settings of training, each declared once: its name, type, range and meaning.

They have no defaults here. Those are in the YAML files of ``layerbench.benchmarks.config.conf``,
whose sections ``algorithm`` and ``train`` have these names in this order; ``loss`` is flat there.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

from layerbench.errors import UserError


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a number can have, as metadata of its type; never infinity.

    Attributes:
        low: The smallest value.
        high: The largest value.
        low_excluded: The number lies above ``low``.
        high_excluded: The number lies below ``high``.
        because: Why no larger number is of use, for a bound that no definition gives.
    """

    low: int | float
    high: int | float = math.inf
    low_excluded: bool = False
    high_excluded: bool = False
    because: str = ""

    def requirement(self, value: int | float) -> str:
        """Say what a value outside the range must be; empty for one inside.

        >>> Range(1).requirement(0), Range(0, 1).requirement(2), Range(1).requirement(1)
        ('at least 1', 'from 0 to 1', '')
        """
        if self.because and value > self.high:
            return f"at most {self.high:_} ({self.because})"
        # As a negation, so that NaN is refused, too: all comparisons with it are false.
        if not self.low <= value <= self.high or math.isinf(value):
            is_bounded = math.isfinite(self.high) and not self.because
            return f"from {self.low} to {self.high}" if is_bounded else f"at least {self.low}"
        if self.low_excluded and value == self.low:
            return f"above {self.low:g}"
        if self.high_excluded and value == self.high:
            return f"below {self.high:g}"
        return ""


MOST_EPISODES = 65_536
"""Episodes that a run can play at once, or in an iteration of training; each is kept in memory."""

# The largest numbers that are of use to anyone; beyond them, a run would not fail but hang, fill
# the memory or overflow.
_STEPS = "a run of a million steps takes years"
_ADAMW = "AdamW moves each weight by it at every step"
_IN_MEMORY = "all episodes of an iteration are kept in memory"
_FACTOR = "larger factors drown all else in rounding"

Steps = Annotated[int, Range(1, 1_000_000, because=_STEPS)]
StepsOrNone = Annotated[int, Range(0, 1_000_000, because=_STEPS)]
Tokens = Annotated[int, Range(1, 100_000_000, because="no model reads so many tokens")]
TokensOrNone = Annotated[int, Range(0, 100_000_000, because="no model reads so many tokens")]
Factor = Annotated[float, Range(0, 1_000_000, because=_FACTOR)]
Temperature = Annotated[float, Range(0, 100, because="every answer is as likely by then")]
LearningRateOrNone = Annotated[float, Range(0, 10, because=_ADAMW)]
LearningRate = Annotated[float, Range(0, 10, low_excluded=True, because=_ADAMW)]
Share = Annotated[float, Range(0, 1)]


@functools.cache
def ranges(settings: type) -> Mapping[str, Range]:
    """List the ranges of a settings class's numbers, by field."""
    hints = get_type_hints(settings, include_extras=True)
    return {
        name: metadata
        for name, hint in hints.items()
        for metadata in getattr(hint, "__metadata__", ())
        if isinstance(metadata, Range)
    }


def check_ranges(settings: object) -> None:
    """Check every number of a settings object against the range in its field's type.

    Raises:
        UserError: A value lies outside its range.
    """
    for name, allowed in ranges(type(settings)).items():
        value: Any = getattr(settings, name)
        if requirement := allowed.requirement(value):
            raise UserError(f"{name} must be {requirement}, got {value}")


class Algorithm(StrEnum):
    """Which advantage a turn gets: see ``gigpo``, ``grpo`` and ``dr_grpo`` in ``rl.advantages``."""

    GIGPO = "gigpo"
    GRPO = "grpo"
    DR_GRPO = "dr_grpo"


class Statistics(StrEnum):
    """Over what the mean and standard deviation of a group's episode scores are taken.

    ``PER_TRAJECTORY`` is the paper's form: each episode counts once. The other two are those of
    verl-agent, for comparison with it: ``PER_TURN`` (its default, contrary to the paper's
    equation 3) counts an episode once a turn, so that long ones weigh more; ``PER_FIRST_TURN``
    counts an episode once, by its first turn's score, penalty included. Both leave a lone score as
    it is and divide equal scores' deviations by ``std_eps`` alone.
    """

    PER_TRAJECTORY = "per_trajectory"
    PER_FIRST_TURN = "per_first_turn"
    PER_TURN = "per_turn"


class Normalisation(StrEnum):
    """Whether a centred score is divided by the standard deviation of those it is compared with."""

    MEAN_STD = "mean_std"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageSettings:
    """How rewards become advantages: the section ``algorithm``.

    Attributes:
        name: Which advantage.
        discount: Factor a turn, for the returns that turns at one anchor are compared by.
        step_weight: Weight of the turn-level part; only GiGPO has one.
        statistics: Over what a group's mean and standard deviation are taken.
        normalisation: Whether to divide by the standard deviation; Dr. GRPO never does.
        std_eps: Added to the standard deviation before it divides (verl: 1e-6, TRL: 1e-4).
        invalid_penalty: Taken off the score of an invalid turn, in scaled reward.
        reward_scale: Factor on the environment's rewards.
        similarity: Anchors share a group from this ratio on; 1 requires equality.

    Raises:
        UserError: A value lies outside its range.
    """

    name: Algorithm
    discount: Share
    step_weight: Factor
    statistics: Statistics
    normalisation: Normalisation
    std_eps: Annotated[float, Range(0, 1_000_000, low_excluded=True, because=_FACTOR)]
    invalid_penalty: Factor
    reward_scale: Annotated[float, Range(0, 1_000_000, low_excluded=True, because=_FACTOR)]
    similarity: Annotated[float, Range(0, 1, low_excluded=True)]

    def __post_init__(self) -> None:
        check_ranges(self)


class KLKind(StrEnum):
    """Estimator of the KL divergence from the reference, by one sample: ``losses.kl_estimate``."""

    K1 = "k1"
    K2 = "k2"
    K3 = "k3"


class Aggregation(StrEnum):
    """How decisions' losses become one number.

    ``GRPO`` averages within each sequence, then over sequences. ``TOKEN_MEAN`` averages over all
    decisions of the optimizer batch (DAPO). ``DR_GRPO`` sums them and divides by the number of
    sequences times a constant length, so that long sequences are not diluted.
    """

    GRPO = "grpo"
    TOKEN_MEAN = "token_mean"
    DR_GRPO = "dr_grpo"


class Schedule(StrEnum):
    """The learning rate after the warm-up.

    ``CONSTANT`` stays at its peak. ``LINEAR`` falls from there by equal steps, which would reach 0
    in the iteration after the last.
    """

    CONSTANT = "constant"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """What the policy loss is made of.

    Attributes:
        clip_low: The importance ratio is clipped at 1 - clip_low.
        clip_high: ... and at 1 + clip_high (DAPO: 0.28).
        dual_clip: With a negative advantage a decision's loss is at most this often the
            advantage's size.
        kl_coef: Weight of the KL estimate to the base model; 0 needs no reference.
        kl_kind: Which estimate.
        entropy_coef: Weight of the entropy bonus.
        aggregation: How decisions' losses become one number.
        max_tokens: Constant length of ``Aggregation.DR_GRPO``, in decisions a sequence.
        sequence_ratio: Use one importance ratio a sequence (GSPO), not one a decision; takes the
            aggregation ``grpo``, which weighs sequences equally, as GSPO does.
        importance_cap: Bound, at least 1, of the weight that corrects a decision which another
            engine sampled: see ``rl.importance_correction``; 0 corrects nothing.

    Raises:
        UserError: A value lies outside its range, or ``sequence_ratio`` has another aggregation.
    """

    clip_low: Annotated[float, Range(0, 1, high_excluded=True)]
    clip_high: Factor
    # Below 1 it would cut off ratios that clipping lets through.
    dual_clip: Annotated[float, Range(1, 1_000_000, because=_FACTOR)]
    kl_coef: Factor
    kl_kind: KLKind
    entropy_coef: Factor
    aggregation: Aggregation
    max_tokens: Tokens
    sequence_ratio: bool
    importance_cap: Factor

    def __post_init__(self) -> None:
        check_ranges(self)
        if 0 < self.importance_cap < 1:
            raise UserError(
                f"importance_cap is {self.importance_cap:g}, but it bounds a weight that is 1 "
                "where engine and trainer agree: take at least 1, or 0 for no correction"
            )
        if self.sequence_ratio and self.aggregation is not Aggregation.GRPO:
            # GSPO's objective is a mean over sequences (arXiv:2507.18071, equation 5).
            raise UserError(
                "sequence_ratio weighs all sequences equally, but aggregation is "
                f"{self.aggregation}, by which long ones weigh more: give train.aggregation=grpo"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a run trains: the section ``train``.

    Attributes:
        iterations: Rounds of playing and updating.
        tasks: Length of the fixed list of training tasks.
        tasks_per_iteration: Groups played each iteration.
        group_size: Episodes of one task in a group.
        learning_rate: AdamW's, after the warm-up, where several layers learn, or everything.
        layer_learning_rate: The same where one layer learns alone.
        control_learning_rate: The same for the floor controls, ``layers=scale`` and
            ``layers=norm``, whose weights do not decay.
        warmup: Iterations in which the learning rate rises linearly; 0 for none.
        schedule: The learning rate after the warm-up.
        weight_decay: AdamW's.
        grad_clip: Largest gradient norm of an optimizer step.
        epochs: Passes over an iteration's episodes.
        minibatches: Optimizer steps a pass.
        micro_batch_tokens: Tokens, with padding, that go through the model at once; changes memory
            and speed alone.
        temperature: Temperature at which training episodes are sampled.
        checkpoint_every: Iterations between checkpoints; the last one always gets its own.
        dynamic_sampling: Drop groups of equal scores, and play others in their place (DAPO).
        loss: What is minimised.
        lr_scale: Multiplier of the learning rate by decoder block, ``10:1,15:2`` (see
            ``rl.lr_scales``); 1 for those not named, empty for none.
        gradient_checkpointing: Compute what is inside a decoder block again for its gradients,
            instead of keeping it; changes memory and speed alone.
        reuse_mb: Memory for the hidden states that the frozen blocks below the lowest layer that
            learns hand up, in MB, so that no pass computes them again; changes memory and speed,
            and results by rounding alone. 0 computes them in every pass.
        lora_rank: Rank of the adapters that learn in the place of matrices; 0 for none.
        lora_learning_rate: AdamW's for adapters; 0 takes that of whole weights.

    Raises:
        UserError: A value lies outside its range.
    """

    iterations: Steps
    tasks: Annotated[int, Range(1, 100_000, because="no environment has so many tasks")]
    tasks_per_iteration: Annotated[int, Range(1, MOST_EPISODES, because=_IN_MEMORY)]
    # One episode cannot be compared with anything.
    group_size: Annotated[int, Range(2, MOST_EPISODES, because=_IN_MEMORY)]
    learning_rate: LearningRate
    layer_learning_rate: LearningRate
    control_learning_rate: LearningRate
    warmup: StepsOrNone
    schedule: Schedule
    weight_decay: Annotated[float, Range(0, 1000, because="it leaves nothing of the weights")]
    grad_clip: Annotated[
        float, Range(0, 1_000_000_000, low_excluded=True, because="it clips nothing")
    ]
    epochs: Annotated[int, Range(1, 1000, because="old episodes teach nothing new")]
    minibatches: Annotated[int, Range(1, MOST_EPISODES, because="each needs an episode")]
    micro_batch_tokens: Tokens
    temperature: Temperature
    checkpoint_every: Steps
    dynamic_sampling: bool
    loss: LossSettings
    lr_scale: str
    gradient_checkpointing: bool
    reuse_mb: Annotated[int, Range(0, 10_000_000, because="no machine has so much memory")]
    lora_rank: Annotated[int, Range(0, 65_536, because="no matrix has so many rows")]
    lora_learning_rate: LearningRateOrNone

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.temperature == 0:
            # It would play the same episode again and again.
            raise UserError("temperature is 0, but a greedy policy cannot learn: take 1")
        episodes = self.tasks_per_iteration * self.group_size
        if episodes > MOST_EPISODES:
            raise UserError(
                f"tasks_per_iteration times group_size makes {episodes} episodes an iteration, "
                f"which are kept in memory: {MOST_EPISODES} are the most"
            )
