"""Importance sampling correction for episodes sampled by an inference engine.

An engine such as vLLM rounds differently from the model that learns, so that log-probabilities
differ even with equal weights, and what the engine sampled is slightly off-policy.

Shape suffixes: D decisions of a sequence.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.rl.batching import TrainingSequence


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How far two engines are apart on the decisions that one of them sampled.

    Attributes:
        mean: Mean absolute difference of their log-probabilities (nats); None without decisions.
        largest: The largest one.
        capped: Share of decisions whose weight was cut to the bound; None without correction.
    """

    mean: float | None = None
    largest: float | None = None
    capped: float | None = None


def correct(
    sequences: Sequence[TrainingSequence],
    scored: Sequence[Float[np.ndarray, " _"]],
    *,
    cap: float,
) -> tuple[list[TrainingSequence], Mismatch]:
    """Weigh decisions by truncated importance sampling, and compare further steps to the learner.

    With the learner's π and the sampler's μ, both before the update, a decision's surrogate loss is
    weighed by min(π/μ, cap), and the importance ratio of the clipped loss is that to π (Yao et al.
    2025, "Your efficient RL framework secretly brings you off-policy RL training"). The surrogate
    is linear in a positive factor on its advantage, so that is where the weight goes.

    Args:
        sequences: The sampled sequences.
        scored: Log-probability (nats) of each decision as the learner has it.
        cap: Bound of the weight, at least 1.

    Returns:
        The sequences, with the learner's log-probabilities and weighed advantages.
    """
    if not sequences:
        return [], Mismatch()
    log_weights = [
        scored_D.astype(np.float64) - sequence.old_logprobs_D
        for sequence, scored_D in zip(sequences, scored, strict=True)
    ]
    # Cut before the exponential, which could overflow.
    weights = [np.exp(np.minimum(log_weight_D, np.log(cap))) for log_weight_D in log_weights]
    corrected = [
        dataclasses.replace(
            sequence,
            # The clip then bounds the update's steps alone, not the engines' rounding.
            old_logprobs_D=scored_D,
            advantages_D=(sequence.advantages_D * weight_D).astype(np.float32),
        )
        for sequence, scored_D, weight_D in zip(sequences, scored, weights, strict=True)
    ]
    all_log_weights = np.concatenate(log_weights)
    distance = np.abs(all_log_weights)
    return corrected, Mismatch(
        mean=float(distance.mean()),
        largest=float(distance.max()),
        capped=float((all_log_weights > np.log(cap)).mean()),
    )
