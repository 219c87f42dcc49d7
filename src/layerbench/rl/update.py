"""Optimizer steps on one iteration's episodes.

Shape suffixes: B sequences, D decisions (sampled, not forced, tokens of all sequences).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from layerbench.rl.activation_checkpointing import forgetful_blocks
from layerbench.rl.batching import TrainingSequence, collate, micro_batches, to_tensor
from layerbench.rl.distributed import ALONE, Ranks, share
from layerbench.rl.importance_correction import Mismatch, correct
from layerbench.rl.layers import BaseWeights
from layerbench.rl.losses import (
    importance_ratio,
    is_clipped,
    kl_estimate,
    token_loss,
    token_weights,
)
from layerbench.rl.master_weights import MasterWeights
from layerbench.rl.policy import decision_scores
from layerbench.rl.settings import LossSettings, TrainSettings
from layerbench.rl.tensors import TrainingBatch
from layerbench.rl.types import UpdateStats


@dataclass(frozen=True, slots=True)
class Learner:
    """A model, and the part of it that learns.

    Attributes:
        model: A causal language model, frozen but for what is stepped.
        parameters: What changes in the model that plays, by name: that one, or with adapters its
            twin.
        base: What those parameters were before training: the KL reference.
        masters: What is stepped in their place, where they are coarser than float32 or adapted.
        optimizer: Steps ``masters.stepped``, and holds no others.
        ranks: The processes that learn together, each from its share of every optimizer batch.
    """

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    base: BaseWeights
    masters: MasterWeights
    optimizer: torch.optim.Optimizer
    ranks: Ranks = ALONE

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next(iter(self.parameters.values())).device


@dataclass(frozen=True, slots=True)
class StepStats:
    """What was measured on the decisions of one or more optimizer batches; added by ``+``.

    Attributes:
        decisions: Their number.
        loss: Sum of the batches' losses.
        sums: Sums over decisions, by the field of ``UpdateStats`` that has their mean.
        maxima: Largest values of a decision, all at least 0, by field of ``UpdateStats``.
    """

    decisions: int = 0
    loss: float = 0.0
    sums: Mapping[str, float] = field(default_factory=dict[str, float])
    maxima: Mapping[str, float] = field(default_factory=dict[str, float])

    def __add__(self, other: "StepStats") -> "StepStats":
        both = (self, other)
        return StepStats(
            decisions=self.decisions + other.decisions,
            loss=self.loss + other.loss,
            sums={
                name: sum(stats.sums.get(name, 0.0) for stats in both)
                for name in {**self.sums, **other.sums}
            },
            maxima={
                name: max(stats.maxima.get(name, 0.0) for stats in both)
                for name in {**self.maxima, **other.maxima}
            },
        )


@dataclass(frozen=True, slots=True)
class WeighedSequence:
    """A sequence of an optimizer batch, with what the whole batch tells about it.

    Attributes:
        sequence: The tokens and decisions.
        weights_D: Share of each decision in the optimizer batch's loss.
        ref_logprobs_D: Log-probability (nats) of each decision under the base model; zeros if no
            reference is asked for.
    """

    sequence: TrainingSequence
    weights_D: Float[np.ndarray, " D"]
    ref_logprobs_D: Float[np.ndarray, " D"]


def update(
    learner: Learner,
    sequences: Sequence[TrainingSequence],
    settings: TrainSettings,
    *,
    rng: np.random.Generator,
) -> UpdateStats:
    """Learn from one iteration's sequences, in shuffled optimizer batches.

    Sequences without any advantage count in the averages of their batch; where KL or entropy has a
    coefficient they are run for its sake, else they have no gradient and are left out. A batch of
    nothing else takes no step, whatever the coefficients: nothing was found out about the policy,
    and AdamW would make a full step of gradients as small as rounding errors, and decay the
    weights. So KL and entropy bound and spread what is learned, and move nothing alone.

    Processes that learn together are called with the same sequences and generators, and take the
    same steps: as one alone would, but for the order in which gradients are added up.

    Args:
        learner: Is changed in place.
        sequences: What the policy has just played.
        settings: How to learn.
        rng: Shuffles the sequences.

    Raises:
        FloatingPointError: A gradient is not finite; the parameters are as before that step.
    """
    sequences, mismatch = _correct(learner, sequences, settings)
    reference = reference_logprobs(learner, sequences, settings)
    total, norms = StepStats(), list[float]()
    for _ in range(settings.epochs):
        order = rng.permutation(len(sequences))
        for chunk in np.array_split(order, settings.minibatches):
            chosen: list[int] = chunk.tolist()
            batch = [sequences[index] for index in chosen]
            if all(sequence.is_neutral for sequence in batch):
                continue
            weighed = weigh(batch, [reference[index] for index in chosen], settings.loss)
            learner.optimizer.zero_grad(set_to_none=True)
            accumulated = accumulate_gradients(learner, _own_share(weighed, learner), settings)
            _add_up_gradients(learner)
            stats = sum(learner.ranks.join([accumulated]), StepStats())
            if mismatch is None:
                # Nothing has moved yet, so the ratios tell how far the sampler was off.
                mismatch = Mismatch(
                    stats.sums["mismatch"] / stats.decisions, stats.maxima["max_mismatch"]
                )
            total += stats
            norms.append(_clip(learner, settings))
            learner.optimizer.step()
            learner.masters.round_off()
    learner.optimizer.zero_grad(set_to_none=True)
    return _summarise(total, norms, mismatch or Mismatch())


def _correct(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> tuple[Sequence[TrainingSequence], Mismatch | None]:
    """Correct what another engine sampled, if that is asked for; else the mismatch is not known."""
    cap = settings.loss.importance_cap
    if not cap or all(sequence.is_neutral for sequence in sequences):
        return sequences, None
    return correct(sequences, logprobs(learner, sequences, settings), cap=cap)


def reference_logprobs(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> list[Float[np.ndarray, " _"]]:
    """Score all decisions by the base model; zeros if the loss does not ask for it."""
    if not settings.loss.kl_coef:
        return [np.zeros(len(sequence.positions_D), np.float32) for sequence in sequences]
    with learner.base.swapped_in(learner.model):
        return logprobs(learner, sequences, settings)


def logprobs(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> list[Float[np.ndarray, " _"]]:
    """Score all decisions (nats) by the model as it is, in the order of the sequences."""
    own = share(sequences, by=id, ranks=learner.ranks)
    return learner.ranks.join(_own_logprobs(learner, own, settings))


def _own_logprobs(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> list[Float[np.ndarray, " _"]]:
    scores = [np.zeros(0, np.float32)] * len(sequences)
    lengths = [len(sequence.token_ids_T) for sequence in sequences]
    with torch.no_grad():
        for indices in micro_batches(lengths, max_tokens=settings.micro_batch_tokens):
            batch = collate([sequences[index] for index in indices], device=learner.device)
            logprobs_D, _ = decision_scores(learner.model, batch, temperature=settings.temperature)
            ends = np.cumsum([len(sequences[index].positions_D) for index in indices])
            for index, own_D in zip(
                indices, np.split(logprobs_D.cpu().numpy(), ends[:-1]), strict=True
            ):
                scores[index] = own_D
    return scores


def weigh(
    sequences: Sequence[TrainingSequence],
    reference: Sequence[Float[np.ndarray, " _"]],
    settings: LossSettings,
) -> list[WeighedSequence]:
    """Share an optimizer batch's loss out to its decisions, and drop what cannot have a gradient.

    Args:
        sequences: The whole optimizer batch.
        reference: Log-probabilities (nats) of its decisions under the base model.
        settings: What is minimised.
    """
    counts_B = np.array([len(sequence.positions_D) for sequence in sequences], dtype=np.int64)
    weights_D = token_weights(
        to_tensor(np.repeat(np.arange(len(sequences)), counts_B)),
        num_sequences=len(sequences),
        num_decisions=int(counts_B.sum()),
        settings=settings,
    ).numpy()
    needs_all = settings.kl_coef > 0.0 or settings.entropy_coef > 0.0
    # The last part, after all of them, is empty.
    own = np.split(weights_D, np.cumsum(counts_B))[:-1]
    return [
        WeighedSequence(sequence, own_D, reference_D)
        for sequence, own_D, reference_D in zip(sequences, own, reference, strict=True)
        if needs_all or not sequence.is_neutral
    ]


def _own_share(weighed: Sequence[WeighedSequence], learner: Learner) -> list[WeighedSequence]:
    """Pick every n-th sequence by length, so that all n processes have about the same to do."""
    ordered = sorted(weighed, key=lambda item: len(item.sequence.token_ids_T))
    return ordered[learner.ranks.rank :: learner.ranks.size]


def _add_up_gradients(learner: Learner) -> None:
    """Replace the gradients of what is stepped by their sums over all processes."""
    ranks, parameters = learner.ranks, list(learner.masters.stepped.values())
    has_gradient = ranks.join([[parameter.grad is not None for parameter in parameters]])
    # AdamW skips a parameter without a gradient, but decays and moves one whose gradient is 0: so
    # one that has none in any process must keep none, as in a single process.
    stepped = [
        p for p, have in zip(parameters, zip(*has_gradient, strict=True), strict=True) if any(have)
    ]
    for parameter in stepped:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if stepped:
        ranks.add_up([cast(Tensor, parameter.grad) for parameter in stepped])


def accumulate_gradients(
    learner: Learner, weighed: Sequence[WeighedSequence], settings: TrainSettings
) -> StepStats:
    """Add an optimizer batch's gradient to what is stepped, one micro-batch after the other."""
    total = StepStats()
    for part in _parts(weighed, settings.micro_batch_tokens):
        batch = collate([item.sequence for item in part], device=learner.device)
        with forgetful_blocks(learner.model, enabled=settings.gradient_checkpointing):
            loss, stats = _loss(
                learner.model,
                batch,
                settings,
                weights_D=_join([item.weights_D for item in part], learner.device),
                ref_logprobs_D=_join([item.ref_logprobs_D for item in part], learner.device),
            )
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        # At once: many micro-batches added up at a low precision would lose the small ones.
        learner.masters.take_gradients()
        total += stats
    return total


def _parts(weighed: Sequence[WeighedSequence], max_tokens: int) -> Iterator[list[WeighedSequence]]:
    lengths = [len(item.sequence.token_ids_T) for item in weighed]
    for indices in micro_batches(lengths, max_tokens=max_tokens):
        yield [weighed[index] for index in indices]


def _join(arrays: Sequence[Float[np.ndarray, " _"]], device: torch.device) -> Float[Tensor, " D"]:
    return to_tensor(np.concatenate(arrays), device)


def _loss(
    model: nn.Module,
    batch: TrainingBatch,
    settings: TrainSettings,
    *,
    weights_D: Float[Tensor, " D"],
    ref_logprobs_D: Float[Tensor, " D"],
) -> tuple[Float[Tensor, ""], StepStats]:
    """Give a micro-batch's part of the loss, and sums over its decisions."""
    spec = settings.loss
    logprobs_D, entropy_D = decision_scores(model, batch, temperature=settings.temperature)
    loss_D = token_loss(
        logprobs_D,
        batch.old_logprobs_D,
        batch.advantages_D,
        rows_D=batch.rows_D,
        settings=spec,
    )
    sums = {"entropy": entropy_D}
    if spec.kl_coef:
        sums["kl"] = kl_estimate(logprobs_D, ref_logprobs_D, kind=spec.kl_kind)
        loss_D = loss_D + spec.kl_coef * sums["kl"]
    if spec.entropy_coef:
        loss_D = loss_D - spec.entropy_coef * entropy_D
    loss = (weights_D * loss_D).sum()
    ratio_D = importance_ratio(
        logprobs_D.detach(),
        batch.old_logprobs_D,
        rows_D=batch.rows_D,
        sequence_ratio=spec.sequence_ratio,
    )
    sums["clip_fraction"] = is_clipped(ratio_D, batch.advantages_D, settings=spec)
    sums["mismatch"] = (logprobs_D.detach() - batch.old_logprobs_D).abs()
    maxima = {"max_ratio": ratio_D, "max_mismatch": sums["mismatch"]}
    return loss, StepStats(
        decisions=len(ratio_D),
        loss=loss.item(),
        sums={name: float(values_D.detach().sum()) for name, values_D in sums.items()},
        maxima={name: float(values_D.max()) for name, values_D in maxima.items()},
    )


def _clip(learner: Learner, settings: TrainSettings) -> float:
    """Scale the gradient down to the largest norm allowed, and return the norm it had."""
    stepped = learner.masters.stepped.values()
    norm = float(nn.utils.clip_grad_norm_(stepped, settings.grad_clip))
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the gradient's norm is {norm}: lower the learning rate or check the rewards"
        )
    return norm


def _summarise(total: StepStats, norms: Sequence[float], mismatch: Mismatch) -> UpdateStats:
    if not norms:
        return UpdateStats(decisions=0, steps=0)
    measured = {name: value / total.decisions for name, value in total.sums.items()}
    measured |= {**total.maxima, "mismatch": mismatch.mean, "max_mismatch": mismatch.largest}
    return UpdateStats(
        **measured,
        loss=total.loss / len(norms),
        grad_norm=math.fsum(norms) / len(norms),
        decisions=total.decisions,
        steps=len(norms),
        capped=mismatch.capped,
    )
