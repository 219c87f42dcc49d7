"""Optimizer steps on one iteration's episodes.

Shape suffixes: B sequences, D decisions (sampled, not forced, tokens of all sequences).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from layerbench.rl.activation_checkpointing import checkpointed_blocks
from layerbench.rl.batcher import Batcher
from layerbench.rl.batching import TrainingSequence, to_tensor
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup, share
from layerbench.rl.frozen_prefix import FrozenPrefix
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
from layerbench.rl.step_stats import StepStats, summarise
from layerbench.rl.tensors import TrainingBatch
from layerbench.rl.types import UpdateStats


@dataclass(frozen=True, slots=True)
class Learner:
    """A model and all that trains it.

    Attributes:
        model: The causal language model that learns, frozen but for what is stepped: the one that
            plays, or with adapters its twin.
        parameters: The parameters that change in the model that plays, by name.
        base: Those parameters before training: the KL reference.
        masters: Weights stepped in their place, where they are coarser than float32 or adapted.
        optimizer: Optimizer of ``masters.stepped``, and of no others.
        processes: The processes that learn together, each from its share of every optimizer batch.
        prefix: The model's frozen blocks below the lowest one that learns, if there are some.
        packs: Whether its sequences are packed instead of padded.
    """

    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    base: BaseWeights
    masters: MasterWeights
    optimizer: torch.optim.Optimizer
    processes: ProcessGroup = SINGLE_PROCESS
    prefix: FrozenPrefix | None = None
    packs: bool = False

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(iter(self.parameters.values())).device


@dataclass(frozen=True, slots=True)
class WeighedSequence:
    """A sequence of an optimizer batch, with its weights in that batch.

    Attributes:
        sequence: The tokens and decisions.
        weights_D: Share of each decision in the optimizer batch's loss.
        ref_logprobs_D: Log-probability (nats) of each decision under the base model; zeros if no
            reference is needed.
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
    coefficient they are run for its sake, else they have no gradient and are left out. A batch
    without any other takes no step, whatever the coefficients: it has no signal about the policy,
    and AdamW would make a full step of gradients as small as rounding errors, and decay the
    weights. So KL and entropy bound and spread what is learned, and move nothing alone.

    In each process of several it is called with the same sequences and an equal generator, and they
    take the same steps: as one process would, but for the order in which gradients are added up.

    Args:
        learner: The learner, changed in place.
        sequences: The sequences that the policy has just played.
        settings: How to learn.
        rng: Generator that shuffles the sequences.

    Raises:
        FloatingPointError: A gradient is not finite; the parameters are as before that step.
    """
    batcher = _batcher(learner, sequences, settings)
    sequences, mismatch = _correct(learner, sequences, settings, batcher)
    reference = reference_logprobs(learner, sequences, settings, batcher)
    total, norms = StepStats(), list[float]()
    for _ in range(settings.epochs):
        order = rng.permutation(len(sequences))
        for chunk in np.array_split(order, settings.minibatches):
            chosen: list[int] = chunk.tolist()
            batch = [sequences[index] for index in chosen]
            # Also true of an empty chunk, where there are fewer sequences than minibatches.
            if not any(sequence.has_advantage for sequence in batch):
                continue
            weighed = weigh(batch, [reference[index] for index in chosen], settings.loss)
            learner.optimizer.zero_grad(set_to_none=True)
            accumulated = accumulate_gradients(
                learner, _own_share(weighed, learner), settings, batcher
            )
            _add_up_gradients(learner)
            stats = sum(learner.processes.join([accumulated]), StepStats())
            if mismatch is None:
                # No weight has changed yet, so only the sampler's rounding moves the ratios.
                mismatch = Mismatch(
                    stats.sums["mismatch"] / stats.decisions, stats.maxima["max_mismatch"]
                )
            total += stats
            norms.append(_clip(learner, settings))
            learner.optimizer.step()
            learner.masters.copy_to_model()
    # Frees the gradients' memory while the next episodes are played.
    learner.optimizer.zero_grad(set_to_none=True)
    return summarise(total, norms, mismatch or Mismatch())


def _batcher(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> Batcher:
    """Prepare to reuse the states below the lowest layer that learns, as far as memory allows."""
    loss, prefix = settings.loss, learner.prefix
    passes = settings.epochs + (loss.kl_coef > 0) + (loss.importance_cap > 0)
    tokens = sum(len(sequence.token_ids_T) for sequence in sequences)
    fits = prefix is not None and prefix.fits(tokens, megabytes=settings.reuse_mb)
    return Batcher(prefix, keeps=fits and passes > 1, packs=learner.packs)


def _correct(
    learner: Learner,
    sequences: Sequence[TrainingSequence],
    settings: TrainSettings,
    batcher: Batcher,
) -> tuple[Sequence[TrainingSequence], Mismatch | None]:
    """Correct for an engine's sampling if ``importance_cap`` is set; else the mismatch is None."""
    cap = settings.loss.importance_cap
    if not cap or not any(sequence.has_advantage for sequence in sequences):
        return sequences, None
    return correct(sequences, logprobs(learner, sequences, settings, batcher), cap=cap)


def reference_logprobs(
    learner: Learner,
    sequences: Sequence[TrainingSequence],
    settings: TrainSettings,
    batcher: Batcher | None = None,
) -> list[Float[np.ndarray, " _"]]:
    """Score all decisions (nats) by the base model; zeros if the loss needs no reference."""
    if not settings.loss.kl_coef:
        return [np.zeros(len(sequence.positions_D), np.float32) for sequence in sequences]
    with learner.base.active_in(learner.model):
        return logprobs(learner, sequences, settings, batcher)


def logprobs(
    learner: Learner,
    sequences: Sequence[TrainingSequence],
    settings: TrainSettings,
    batcher: Batcher | None = None,
) -> list[Float[np.ndarray, " _"]]:
    """Score all decisions (nats) by the model as it is, in the order of the sequences."""
    # By id, so that each sequence counts alone: unlike episodes of a task, none belong together.
    shared = share(sequences, by=id, processes=learner.processes)
    batcher = batcher or Batcher(None, packs=learner.packs)
    return learner.processes.join(_own_logprobs(learner, shared, settings, batcher))


def _own_logprobs(
    learner: Learner,
    sequences: Sequence[TrainingSequence],
    settings: TrainSettings,
    batcher: Batcher,
) -> list[Float[np.ndarray, " _"]]:
    scores = [np.zeros(0, np.float32)] * len(sequences)
    with torch.no_grad():
        for indices, batch in batcher.batches(
            sequences, max_tokens=settings.micro_batch_tokens, device=learner.device
        ):
            logprobs_D, _ = decision_scores(
                learner.model, batch, temperature=settings.temperature, prefix=learner.prefix
            )
            ends = np.cumsum([len(sequences[index].positions_D) for index in indices])
            for index, scores_D in zip(
                indices, np.split(logprobs_D.cpu().numpy(), ends[:-1]), strict=True
            ):
                scores[index] = scores_D
    return scores


def weigh(
    sequences: Sequence[TrainingSequence],
    reference: Sequence[Float[np.ndarray, " _"]],
    settings: LossSettings,
) -> list[WeighedSequence]:
    """Weigh an optimizer batch's decisions, and drop sequences that cannot have a gradient.

    Args:
        sequences: The whole optimizer batch.
        reference: Log-probabilities (nats) of its decisions under the base model.
        settings: What is minimised.
    """
    # Weights first, over all sequences: those that are dropped still count in the averages.
    counts_B = np.array([len(sequence.positions_D) for sequence in sequences], dtype=np.int64)
    weights_D = token_weights(
        to_tensor(np.repeat(np.arange(len(sequences)), counts_B)),
        num_sequences=len(sequences),
        num_decisions=int(counts_B.sum()),
        settings=settings,
    ).numpy()
    needs_all = settings.kl_coef > 0.0 or settings.entropy_coef > 0.0
    # The last part, after all of them, is empty.
    parts = np.split(weights_D, np.cumsum(counts_B))[:-1]
    return [
        WeighedSequence(sequence, part_D, reference_D)
        for sequence, part_D, reference_D in zip(sequences, parts, reference, strict=True)
        if needs_all or sequence.has_advantage
    ]


def _own_share(weighed: Sequence[WeighedSequence], learner: Learner) -> list[WeighedSequence]:
    """Pick every n-th sequence by length, so that all n processes have about the same to do."""
    ordered = sorted(weighed, key=lambda item: len(item.sequence.token_ids_T))
    return ordered[learner.processes.rank :: learner.processes.size]


def _add_up_gradients(learner: Learner) -> None:
    """Replace the gradients of what is stepped by their sums over all processes."""
    processes, parameters = learner.processes, list(learner.masters.stepped.values())
    has_gradient = processes.join([[parameter.grad is not None for parameter in parameters]])
    # AdamW skips a parameter without a gradient, but decays and moves one whose gradient is 0: so
    # one that has none in any process must keep none, as in a single process.
    stepped = [
        p for p, have in zip(parameters, zip(*has_gradient, strict=True), strict=True) if any(have)
    ]
    for parameter in stepped:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if stepped:
        processes.add_up([cast(Tensor, parameter.grad) for parameter in stepped])


def accumulate_gradients(
    learner: Learner,
    weighed: Sequence[WeighedSequence],
    settings: TrainSettings,
    batcher: Batcher | None = None,
) -> StepStats:
    """Add sequences' gradient to that of the stepped weights, one micro-batch after the other."""
    batcher = batcher or Batcher(None, packs=learner.packs)
    total = StepStats()
    for indices, batch in batcher.batches(
        [item.sequence for item in weighed],
        max_tokens=settings.micro_batch_tokens,
        device=learner.device,
    ):
        part = [weighed[index] for index in indices]
        with checkpointed_blocks(learner.model, enabled=settings.gradient_checkpointing):
            loss, stats = _loss(
                learner,
                batch,
                settings,
                weights_D=_join([item.weights_D for item in part], learner.device),
                ref_logprobs_D=_join([item.ref_logprobs_D for item in part], learner.device),
            )
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        # After each micro-batch: sums at a low precision would lose small gradients.
        learner.masters.accumulate_gradients_fp32()
        total += stats
    return total


def _join(arrays: Sequence[Float[np.ndarray, " _"]], device: torch.device) -> Float[Tensor, " D"]:
    return to_tensor(np.concatenate(arrays), device)


def _loss(
    learner: Learner,
    batch: TrainingBatch,
    settings: TrainSettings,
    *,
    weights_D: Float[Tensor, " D"],
    ref_logprobs_D: Float[Tensor, " D"],
) -> tuple[Float[Tensor, ""], StepStats]:
    """Compute a micro-batch's part of the loss, and measure its decisions."""
    loss_settings = settings.loss
    logprobs_D, entropy_D = decision_scores(
        learner.model, batch, temperature=settings.temperature, prefix=learner.prefix
    )
    loss_D = token_loss(
        logprobs_D,
        batch.old_logprobs_D,
        batch.advantages_D,
        rows_D=batch.rows_D,
        settings=loss_settings,
    )
    # Keys of sums and maxima are fields of ``UpdateStats``: a metric needs no other line.
    sums = {"entropy": entropy_D}
    if loss_settings.kl_coef:
        sums["kl"] = kl_estimate(logprobs_D, ref_logprobs_D, kind=loss_settings.kl_kind)
        loss_D = loss_D + loss_settings.kl_coef * sums["kl"]
    if loss_settings.entropy_coef:
        loss_D = loss_D - loss_settings.entropy_coef * entropy_D
    loss = (weights_D * loss_D).sum()
    ratio_D = importance_ratio(
        logprobs_D.detach(),
        batch.old_logprobs_D,
        rows_D=batch.rows_D,
        sequence_ratio=loss_settings.sequence_ratio,
    )
    sums["clip_fraction"] = is_clipped(ratio_D, batch.advantages_D, settings=loss_settings)
    sums["mismatch"] = (logprobs_D.detach() - batch.old_logprobs_D).abs()
    maxima = {"max_ratio": ratio_D, "max_mismatch": sums["mismatch"]}
    return loss, StepStats(
        decisions=len(ratio_D),
        loss=loss.item(),
        sums={name: float(values_D.detach().sum()) for name, values_D in sums.items()},
        maxima={name: float(values_D.max()) for name, values_D in maxima.items()},
    )


def _clip(learner: Learner, settings: TrainSettings) -> float:
    """Scale the gradient down to the largest norm allowed, and return its norm before that."""
    stepped = learner.masters.stepped.values()
    norm = float(nn.utils.clip_grad_norm_(stepped, settings.grad_clip))
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the gradient's norm is {norm}: lower the learning rate or check the rewards"
        )
    return norm
