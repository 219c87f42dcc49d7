"""The clipped policy loss and its parts, as pure functions of log-probabilities.

A whole optimizer batch weighs its decisions once (``token_weights``); the loss is then a plain
weighted sum over decisions, so that it does not matter how they are cut into micro-batches.
Forced tokens are no decisions: their probability is 1 under every policy, their gradient 0.

Shape suffixes: D decisions (sampled tokens of all sequences), B sequences.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from layerbench.rl.settings import Aggregation, KLKind, LossSettings

MAX_LOG_RATIO = 20.0
"""Log-ratios (nats) are cut to this, either way, before they are exponentiated, as in verl: a
decision that far off is clipped anyhow, and would overflow float32 otherwise."""

MAX_KL = 10.0
"""Bound of one decision's KL estimate (nats), either way; there it stops pulling."""


def importance_ratio(
    logprobs_D: Float[Tensor, " D"],
    old_logprobs_D: Float[Tensor, " D"],
    *,
    rows_D: Int[Tensor, " D"],
    sequence_ratio: bool,
) -> Float[Tensor, " D"]:
    """Divide the probability of each decision by what it was when the decision was sampled.

    With ``sequence_ratio`` every decision gets its sequence's ratio, exp(mean log-ratio) (GSPO,
    arXiv:2507.18071, equation 7); a sequence must then lie within one micro-batch.
    """
    log_ratio_D = logprobs_D - old_logprobs_D
    if sequence_ratio:
        count_B = torch.bincount(rows_D)
        sum_B = log_ratio_D.new_zeros(len(count_B)).index_add(0, rows_D, log_ratio_D)
        # A sequence without decisions is 0/0 here, but no row picks it.
        log_ratio_D = (sum_B / count_B)[rows_D]
    return log_ratio_D.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def token_loss(
    logprobs_D: Float[Tensor, " D"],
    old_logprobs_D: Float[Tensor, " D"],
    advantages_D: Float[Tensor, " D"],
    *,
    rows_D: Int[Tensor, " D"],
    settings: LossSettings,
) -> Float[Tensor, " D"]:
    """Score each decision by the clipped surrogate; less is better.

    With the importance ratio r: -min(rA, clip(r)A), and where A < 0 at most -cA (dual clip,
    Ye et al. 2020, arXiv:1912.09729).
    Without KL and entropy: add those with their coefficients, then weigh by ``token_weights``.
    """
    ratio_D = importance_ratio(
        logprobs_D, old_logprobs_D, rows_D=rows_D, sequence_ratio=settings.sequence_ratio
    )
    clipped_D = ratio_D.clamp(1.0 - settings.clip_low, 1.0 + settings.clip_high)
    loss_D = torch.maximum(-ratio_D * advantages_D, -clipped_D * advantages_D)
    # Without this bound a large ratio weighs a negative advantage without limit.
    bounded_D = torch.minimum(loss_D, -settings.dual_clip * advantages_D)
    return torch.where(advantages_D < 0, bounded_D, loss_D)


def is_clipped(
    ratio_D: Float[Tensor, " D"], advantages_D: Float[Tensor, " D"], *, settings: LossSettings
) -> Bool[Tensor, " D"]:
    """Tell which decisions a clip has cut off, so that they no longer move the policy."""
    risen_D = (advantages_D > 0) & (ratio_D > 1.0 + settings.clip_high)
    fallen_D = (advantages_D < 0) & (ratio_D < 1.0 - settings.clip_low)
    bounded_D = (advantages_D < 0) & (ratio_D > settings.dual_clip)
    return risen_D | fallen_D | bounded_D


def kl_estimate(
    logprobs_D: Float[Tensor, " D"], ref_logprobs_D: Float[Tensor, " D"], *, kind: KLKind
) -> Float[Tensor, " D"]:
    """Estimate the KL divergence (nats) from the reference at each decision, by that one sample.

    With d = log π - log π_ref: k1 = d, k2 = d²/2, k3 = exp(-d) + d - 1 (Schulman 2020), cut to
    ±``MAX_KL``. As a loss, k1 is useless (its expected gradient is 0): it is there to report.
    """
    # Beyond the cut the result is MAX_KL anyhow, but exp's gradient would be inf times 0.
    d_D = (logprobs_D - ref_logprobs_D).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    if kind is KLKind.K1:
        kl_D = d_D
    elif kind is KLKind.K2:
        kl_D = d_D.square() / 2.0
    else:
        # Close to the reference k3 is d²/2, which exp(-d), near 1, would round away.
        kl_D = torch.expm1(-d_D) + d_D
    return kl_D.clamp(-MAX_KL, MAX_KL)


def token_weights(
    rows_D: Int[Tensor, " D"], *, num_sequences: int, num_decisions: int, settings: LossSettings
) -> Float[Tensor, " D"]:
    """Weigh the decisions of a whole optimizer batch, so that its loss is sum(weight x loss).

    Call it once an optimizer step, over all of its decisions, and hand each micro-batch its share.

    Args:
        rows_D: Sequence of each decision, any order.
        num_sequences: Sequences of the optimizer batch, also those left out of ``rows_D`` because
            all of their advantages are 0.
        num_decisions: Decisions of all those sequences, left out ones as well.
        settings: Gives the aggregation, and its constant length.

    Raises:
        ValueError: There are more sequences or decisions in ``rows_D`` than were counted.
    """
    count_B = torch.bincount(rows_D)
    weighed = int(count_B.count_nonzero())
    if weighed > num_sequences or len(rows_D) > num_decisions:
        raise ValueError(
            f"the batch counts {num_sequences} sequences and {num_decisions} decisions, "
            f"but {weighed} and {len(rows_D)} are to be weighed"
        )
    count_D = count_B[rows_D].to(torch.float32)
    if settings.aggregation is Aggregation.GRPO:
        return 1.0 / (num_sequences * count_D)
    if settings.aggregation is Aggregation.TOKEN_MEAN:
        return torch.ones_like(count_D) / num_decisions
    return torch.ones_like(count_D) / (num_sequences * settings.max_tokens)
