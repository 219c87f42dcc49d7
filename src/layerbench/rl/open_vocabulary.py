"""Log-probabilities and entropies over a whole vocabulary, a chunk of decisions at a time.

A float32 number for every decision and token of a large vocabulary is gigabytes, and plain autograd
keeps several of them until the backward pass. Here no more than one chunk's are alive: the backward
pass computes them again, as in the chunked losses of Liger Kernel (arXiv 2410.10989).

Shape suffixes: D decisions, C decisions of a chunk, V vocabulary, H hidden size.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

CHUNK_NUMBERS = 2**26
"""Most float32 numbers over decisions and vocabulary at once: 268 MB, 441 decisions of Qwen's."""

Scores = tuple[Float[Tensor, " D"], Float[Tensor, " D"]]


def open_scores(
    hidden_DH: Float[Tensor, "D H"],
    head: nn.Linear,
    tokens_D: Int[Tensor, " D"],
    *,
    temperature: float,
) -> Scores:
    """Compute each token's log-probability, and the entropy of its distribution, in nats.

    Args:
        hidden_DH: Hidden states that predict the tokens, on the head's device.
        head: From hidden states to logits over the vocabulary.
        tokens_D: The tokens, on the head's device.
        temperature: Divides the logits.
    """
    bias_V = cast(Tensor | None, head.bias)
    size = max(1, CHUNK_NUMBERS // len(head.weight))
    if len(tokens_D) <= size:
        # To keep a single chunk's numbers is cheaper than to compute them again.
        scores_DV = _log_probabilities(hidden_DH, head.weight, bias_V, temperature)
        return _chosen(scores_DV, tokens_D), _entropy(scores_DV)
    apply = cast(Callable[..., Scores], _Chunked.apply)  # pyright: ignore[reportUnknownMemberType]
    return apply(hidden_DH, head.weight, bias_V, tokens_D, temperature, size)


class _Chunked(torch.autograd.Function):
    """Both scores of all decisions, of which hidden states and tokens alone are kept."""

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,  # noqa: ANN401
        hidden_DH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        tokens_D: Tensor,
        temperature: float,
        size: int,
    ) -> Scores:
        """Score the chunks one after the other."""
        logprobs_D = hidden_DH.new_empty(len(tokens_D), dtype=torch.float32)
        entropy_D = torch.empty_like(logprobs_D)
        for chunk in _chunks(len(tokens_D), size):
            scores_CV = _log_probabilities(hidden_DH[chunk], weight_VH, bias_V, temperature)
            logprobs_D[chunk] = _chosen(scores_CV, tokens_D[chunk])
            entropy_D[chunk] = _entropy(scores_CV)
            # Else it would stay while the next one's are computed.
            del scores_CV
        ctx.save_for_backward(hidden_DH, weight_VH, bias_V, tokens_D, entropy_D)
        ctx.temperature, ctx.size = temperature, size
        return logprobs_D, entropy_D

    @staticmethod
    def backward(ctx: Any, *gradients_D: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Compute each chunk's probabilities again, and from them its share of the gradients."""
        of_logprob_D, of_entropy_D = gradients_D
        hidden_DH, weight_VH, bias_V, tokens_D, entropy_D = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        of_hidden_DH = torch.empty_like(hidden_DH) if needs_hidden else None
        # Sums over chunks at the precision of the weights would lose small gradients.
        of_weight_VH = _float_zeros(weight_VH) if needs_weight else None
        of_bias_V = _float_zeros(bias_V) if needs_bias else None
        for chunk in _chunks(len(tokens_D), ctx.size):
            scores_CV = _log_probabilities(hidden_DH[chunk], weight_VH, bias_V, ctx.temperature)
            probabilities_CV = scores_CV.exp()
            # d log p(token) / d logit = [is token] - p, and d entropy / d logit = -p (log p + H).
            slope_CV = scores_CV.add_(entropy_D[chunk, None]).mul_(of_entropy_D[chunk, None])
            slope_CV = slope_CV.add_(of_logprob_D[chunk, None]).mul_(probabilities_CV).neg_()
            slope_CV.scatter_add_(1, tokens_D[chunk, None], of_logprob_D[chunk, None])
            slope_CV = slope_CV.div_(ctx.temperature)
            if of_bias_V is not None:
                of_bias_V += slope_CV.sum(0)
            coarse_CV = slope_CV.to(weight_VH.dtype)
            if of_hidden_DH is not None:
                of_hidden_DH[chunk] = coarse_CV @ weight_VH
            if of_weight_VH is not None:
                of_weight_VH += coarse_CV.T @ hidden_DH[chunk]
            del scores_CV, probabilities_CV, slope_CV, coarse_CV
        if of_weight_VH is not None:
            of_weight_VH = of_weight_VH.to(weight_VH.dtype)
        if of_bias_V is not None:
            of_bias_V = of_bias_V.to(bias_V.dtype)
        return of_hidden_DH, of_weight_VH, of_bias_V, None, None, None


def _chunks(decisions: int, size: int) -> Iterator[slice]:
    return (slice(at, at + size) for at in range(0, decisions, size))


def _log_probabilities(
    hidden_CH: Float[Tensor, "C H"],
    weight_VH: Float[Tensor, "V H"],
    bias_V: Float[Tensor, " V"] | None,
    temperature: float,
) -> Float[Tensor, "C V"]:
    logits_CV = nn.functional.linear(hidden_CH, weight_VH, bias_V).float()
    return (logits_CV / temperature).log_softmax(-1)


def _chosen(scores_CV: Float[Tensor, "C V"], tokens_C: Int[Tensor, " C"]) -> Float[Tensor, " C"]:
    return scores_CV.gather(1, tokens_C[:, None])[:, 0]


def _entropy(scores_CV: Float[Tensor, "C V"]) -> Float[Tensor, " C"]:
    return -(scores_CV.exp() * scores_CV).sum(-1)


def _float_zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.float32)
