"""Sampling of responses: forced tokens from the trie, free ones by inversion.

Shape suffixes: R rows sampled at once, K ids to choose from.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.trie import TokenTrie


@dataclass(slots=True)
class Draft:
    """A response while it is being sampled.

    Attributes:
        query: The request.
        trie: Token sequences that it may become; None for free text.
        noise: Gives one uniform number for each token that is drawn.
        token_ids: Tokens so far; ``logprobs`` and ``allowed_ids`` as in ``Sample``.
        options: Ids that the next token is drawn from; empty for free text, or at the end.
        done: The response is complete.
    """

    query: Query
    trie: TokenTrie | None
    noise: np.random.Generator
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    allowed_ids: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    options: tuple[int, ...] = ()
    done: bool = False

    @classmethod
    def start(cls, query: Query) -> "Draft":
        """Begin a response with the tokens that are forced at its beginning.

        Raises:
            ValueError: The context is empty.
        """
        if not query.context_ids:
            raise ValueError(f"the context of episode {query.episode} is empty")
        trie = TokenTrie(query.choices) if query.choices else None
        draft = cls(query, trie, np.random.Generator(np.random.Philox(query.seed)))
        draft._follow_trie()
        return draft

    def choose(self, index: int, logprob: float) -> None:
        """Append one of the options, and the tokens that are forced after it."""
        self._append_option(index, logprob)
        self._follow_trie()

    def result(self) -> Sample:
        """Give the complete response."""
        return Sample(tuple(self.token_ids), tuple(self.logprobs), tuple(self.allowed_ids))

    def _follow_trie(self) -> None:
        """Append forced tokens up to the next free one, or the end."""
        if self.trie is None:
            return
        self.options = self.trie.allowed(self.token_ids)
        while len(self.options) == 1:
            self._append_option(0, 0.0)
            self.options = self.trie.allowed(self.token_ids)
        self.done = not self.options

    def _append_option(self, index: int, logprob: float) -> None:
        self.allowed_ids.append(self.options)
        self.token_ids.append(self.options[index])
        self.logprobs.append(logprob)


def draw(logits: Sequence[float], *, temperature: float, noise: float) -> tuple[int, float]:
    """Draw an index by inversion of the cumulative distribution, with its log-probability (nats).

    The same rule as ``draw_rows``, for one row of few numbers, where tensors would take ten times
    as long. Log-probabilities of the two differ in their last bits.

    >>> draw([0.0, 0.0], temperature=1.0, noise=0.75)
    (1, -0.6931471805599453)
    >>> draw([0.0, 1.0], temperature=0.0, noise=0.1)
    (1, 0.0)

    Args:
        logits: Scores, up to a constant.
        temperature: Divides the logits; 0 takes the likeliest, with log-probability 0.
        noise: Uniform in [0, 1).
    """
    highest = max(logits)
    likeliest = logits.index(highest)
    if temperature == 0:
        return likeliest, 0.0
    scaled = [(logit - highest) / temperature for logit in logits]
    total = math.log(math.fsum(map(math.exp, scaled)))
    cumulative = list(accumulate(math.exp(logit - total) for logit in scaled))
    # Times the sum, which rounding leaves slightly off 1.
    drawn = bisect_right(cumulative, noise * cumulative[-1])
    # Rounding can put the target at the very end, past every index.
    index = drawn if drawn < len(logits) else likeliest
    return index, scaled[index] - total


def draw_rows(
    logits_RK: Float[Tensor, "R K"], *, temperatures: Sequence[float], noise: Sequence[float]
) -> list[tuple[int, float]]:
    """Draw an index for each row as ``draw`` does, on the device of the logits.

    Args:
        logits_RK: Scores; minus infinity shuts an id out.
        temperatures: One a row.
        noise: One a row, uniform in [0, 1).
    """
    device = logits_RK.device
    # At temperature 0 any divisor will do, since the likeliest id does not depend on it.
    divisors = [temperature or 1.0 for temperature in temperatures]
    divisors_R1 = torch.tensor(divisors, dtype=torch.float64, device=device)[:, None]
    # In double precision, so that the tail of a large vocabulary keeps its share.
    logprobs_RK = (logits_RK.double() / divisors_R1).log_softmax(-1)
    cumulative_RK = logprobs_RK.exp().cumsum(-1)
    noise_R1 = torch.tensor(noise, dtype=torch.float64)[:, None].to(device)
    # An id of probability 0 is passed over: strictly more than the noise must lie before its end.
    target_R1 = noise_R1 * cumulative_RK[:, -1:]
    drawn_R1 = torch.searchsorted(cumulative_RK, target_R1, right=True)
    likeliest_R1 = logprobs_RK.argmax(-1, keepdim=True)
    drawn_R1 = torch.where(drawn_R1 < logits_RK.shape[1], drawn_R1, likeliest_R1)
    greedy_R1 = torch.tensor([[temperature == 0] for temperature in temperatures], device=device)
    index_R1 = torch.where(greedy_R1, likeliest_R1, drawn_R1)
    logprob_R1 = logprobs_RK.gather(1, index_R1).masked_fill(greedy_R1, 0.0)
    indices, logprobs = index_R1[:, 0].cpu().numpy(), logprob_R1[:, 0].cpu().numpy()
    return [(int(index), float(logprob)) for index, logprob in zip(indices, logprobs, strict=True)]
