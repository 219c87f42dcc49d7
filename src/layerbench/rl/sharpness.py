"""How sharply a policy decides, and how far it has moved from its base, on episodes it played.

Shape suffixes: D decisions (sampled, not forced, tokens of all sequences), K tokens a decision was
chosen from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from layerbench.agents.types import StopReason, Trajectory
from layerbench.rl.batcher import Batcher
from layerbench.rl.batching import sequences_of
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup
from layerbench.rl.frozen_prefix import FrozenPrefix
from layerbench.rl.layers import BaseWeights
from layerbench.rl.packed_sequences import gains_by_packing
from layerbench.rl.policy import log_distributions

# Whole distributions over a vocabulary of 150,000 tokens take 600 KB a decision.
_OPEN_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Means over the decisions of some episodes, at temperature 1 whatever they were sampled at.

    Attributes:
        entropy: Entropy of a decision's distribution, in nats.
        kl: Kullback-Leibler divergence of a decision's distribution from the base model's, in nats,
            exact over all tokens that it was chosen from; None for the base itself.
    """

    entropy: float
    kl: float | None


@torch.no_grad()
def measure(
    model: nn.Module,
    trajectories: Sequence[Trajectory],
    *,
    base: BaseWeights | None,
    micro_batch_tokens: int,
    processes: ProcessGroup = SINGLE_PROCESS,
    prefix: FrozenPrefix | None = None,
) -> Sharpness | None:
    """Measure a policy on the episodes that it has played.

    Args:
        model: The model that played, as it is.
        trajectories: The episodes; those whose environment broke are left out.
        base: The weights that training changed, before it; None for an untrained model.
        micro_batch_tokens: Most tokens of a forward pass, padding included.
        processes: The processes of the run, all of which have the episodes; each reads a share.
        prefix: Blocks of the model that training left as they were, which are run once for both.

    Returns:
        The means; None where there is no decision.
    """
    sequences = sequences_of([t for t in trajectories if t.stop is not StopReason.ERROR])
    own = sequences[processes.rank :: processes.size]
    if any(not ids for sequence in own[:1] for ids in sequence.allowed[:1]):
        micro_batch_tokens = min(micro_batch_tokens, _OPEN_TOKENS)
    entropies, divergences, decisions = list[float](), list[float](), 0
    device = next(model.parameters()).device
    batcher = Batcher(prefix, packs=gains_by_packing(model))
    for _, batch in batcher.batches(own, max_tokens=micro_batch_tokens, device=device):
        scores_DK, is_allowed_DK = log_distributions(model, batch, prefix=prefix)
        probabilities_DK = scores_DK.exp() * is_allowed_DK
        entropies.append(-float((probabilities_DK * scores_DK).sum()))
        decisions += len(scores_DK)
        if base is not None:
            with base.active_in(model):
                base_DK, _ = log_distributions(model, batch, prefix=prefix)
            divergences.append(float((probabilities_DK * (scores_DK - base_DK)).sum()))
    totals = processes.join([(math.fsum(entropies), math.fsum(divergences), decisions)])
    total = sum(number for _, _, number in totals)
    if not total:
        return None
    entropy, kl = (math.fsum(sums) / total for sums in list(zip(*totals, strict=True))[:2])
    # Rounding can take what is 0 a hair below it.
    return Sharpness(max(0.0, entropy), None if base is None else max(0.0, kl))
