"""Backend that samples from a causal language model of transformers.

Shape suffixes: R rows sampled at once, K ids to choose from.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.backends.sampling import Draft, draw_rows
from layerbench.agents.backends.transformers.cached import (
    CachedStepper,
    RecomputingStepper,
    has_full_attention,
)
from layerbench.agents.backends.transformers.lean import LeanStepper, is_lean
from layerbench.agents.backends.transformers.stepper import Stepper


@dataclass(slots=True)
class _Row:
    """An episode's row of the stepper, and the tokens that it has read."""

    number: int
    token_ids: list[int]


class TransformersBackend:
    """Samples from a live model; each episode keeps its row of the cache between turns.

    Args:
        model: A causal language model; in evaluation mode while it samples.
        end_ids: Tokens that end free text.
        stepper: Incremental decoding; by default the fastest that is right for the model.
    """

    def __init__(
        self, model: nn.Module, *, end_ids: Collection[int], stepper: Stepper | None = None
    ) -> None:
        self._model = model
        self._end_ids = frozenset(end_ids)
        self._stepper = stepper if stepper is not None else pick_stepper(model)
        self._rows: dict[int, _Row] = {}

    def sample(self, queries: Sequence[Query]) -> list[Sample]:
        """Sample a response to each query, all of them side by side.

        The noise of a response comes from its query's seed alone, so that it does not depend on
        the other queries.

        Raises:
            ValueError: Two queries are of the same episode, or a context is empty.
        """
        episodes = [query.episode for query in queries]
        if len(set(episodes)) < len(episodes):
            raise ValueError(f"one query per episode, got {sorted(episodes)}")
        training = self._model.training
        if training:
            self._model.eval()
        self._share_prompts(queries)
        drafts = [self._start(query) for query in queries]
        while live := [draft for draft in drafts if not draft.done]:
            self._choose([draft for draft in live if draft.trie is not None])
            self._write([draft for draft in live if draft.trie is None])
        if training:
            self._model.train()
        return [draft.result() for draft in drafts]

    def keep_states(self, depth: int) -> None:
        """Keep hidden states, where the stepper can: see ``StateKeeper``."""
        if isinstance(self._stepper, LeanStepper):
            self._stepper.keep_states(depth)

    def states(self, episode: int) -> np.ndarray | None:
        """Give the hidden states of all tokens that were read in an episode."""
        row = self._rows.get(episode)
        if row is None or not isinstance(self._stepper, LeanStepper):
            return None
        return self._stepper.states(row.number)

    def release(self, episodes: Iterable[int]) -> None:
        """Drop the rows of these episodes."""
        # An episode whose first prompt was too long is released without ever having had a row.
        rows = [self._rows.pop(episode) for episode in episodes if episode in self._rows]
        self._stepper.drop([row.number for row in rows])

    def _share_prompts(self, queries: Sequence[Query]) -> None:
        """Read a prompt that several new episodes have in common once, and copy its cache.

        A group plays one task, so its first prompts are equal. Each episode reads the last token
        itself, since it needs the logits after it.
        """
        episodes_by_prompt: dict[tuple[int, ...], list[int]] = {}
        for query in queries:
            if query.episode not in self._rows and len(query.context_ids) > 1:
                episodes_by_prompt.setdefault(query.context_ids[:-1], []).append(query.episode)
        shared = {
            ids: episodes for ids, episodes in episodes_by_prompt.items() if len(episodes) > 1
        }
        if not shared:
            return
        firsts = {ids: self._stepper.open() for ids in shared}
        # The logits are not used: one candidate is the least that can be scored.
        candidates_R1 = torch.zeros(len(shared), 1, dtype=torch.long)
        self._stepper.extend({firsts[ids]: ids for ids in shared}, candidates_R1)
        for ids, episodes in shared.items():
            numbers = [firsts[ids], *(self._stepper.copy(firsts[ids]) for _ in episodes[1:])]
            for episode, number in zip(episodes, numbers, strict=True):
                self._rows[episode] = _Row(number, list(ids))

    def _start(self, query: Query) -> Draft:
        draft = Draft.start(query)
        row = self._rows.get(query.episode)
        if row is None:
            row = self._rows[query.episode] = _Row(self._stepper.open(), [])
        # At least the last token is read, also if the row has it already: its logits are needed.
        shared = min(_common_prefix(row.token_ids, query.context_ids), len(query.context_ids) - 1)
        if shared < len(row.token_ids):
            self._stepper.truncate(row.number, length=shared)
            del row.token_ids[shared:]
        return draft

    def _read(
        self, drafts: Sequence[Draft], candidates_RK: Int[Tensor, "R K"] | None
    ) -> Float[Tensor, "R K"]:
        """Read what is new in each draft's row, and score what may come next."""
        rows = [self._rows[draft.query.episode] for draft in drafts]
        unread = [_unread(draft, row) for draft, row in zip(drafts, rows, strict=True)]
        chunks = {row.number: tokens for row, tokens in zip(rows, unread, strict=True)}
        logits_RK = self._stepper.extend(chunks, candidates_RK)
        for row, tokens in zip(rows, unread, strict=True):
            row.token_ids += tokens
        return logits_RK

    def _choose(self, drafts: Sequence[Draft]) -> None:
        """Sample each draft's next token among its options, then follow what that forces."""
        if not drafts:
            return
        width = max(len(draft.options) for draft in drafts)
        # Any id will do as padding: its logit is masked below.
        padded = [
            draft.options + draft.options[:1] * (width - len(draft.options)) for draft in drafts
        ]
        logits_RK = self._read(drafts, torch.tensor(padded))
        padding_RK = torch.tensor(
            [[k >= len(draft.options) for k in range(width)] for draft in drafts]
        )
        logits_RK = logits_RK.cpu().masked_fill(padding_RK, float("-inf"))
        for draft, (index, logprob) in zip(drafts, _draw(logits_RK, drafts), strict=True):
            draft.choose(index, logprob)

    def _write(self, drafts: Sequence[Draft]) -> None:
        """Sample each draft's next token of free text from the whole vocabulary."""
        if not drafts:
            return
        logits_RK = self._read(drafts, None)
        for draft, (token, logprob) in zip(drafts, _draw(logits_RK, drafts), strict=True):
            draft.token_ids.append(token)
            draft.logprobs.append(logprob)
            cut_off = len(draft.token_ids) >= draft.query.max_new_tokens
            draft.done = token in self._end_ids or cut_off


def _draw(logits_RK: Float[Tensor, "R K"], drafts: Sequence[Draft]) -> list[tuple[int, float]]:
    return draw_rows(
        logits_RK,
        temperatures=[draft.query.temperature for draft in drafts],
        noise=[draft.noise.random() for draft in drafts],
    )


def _unread(draft: Draft, row: _Row) -> list[int]:
    """List the tokens of a draft, context first, that its row has not read."""
    context_ids, read = draft.query.context_ids, len(row.token_ids)
    return [*context_ids[read:], *draft.token_ids[max(read - len(context_ids), 0) :]]


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    length = min(len(left), len(right))
    # A transcript only grows: the usual case there, found without a loop in Python.
    if list(left[:length]) == list(right[:length]):
        return length
    return next(index for index in range(length) if left[index] != right[index])


def pick_stepper(model: nn.Module) -> Stepper:
    """Pick the fastest stepper that is right for a model."""
    if is_lean(model):
        return LeanStepper(model)
    return CachedStepper(model) if has_full_attention(model) else RecomputingStepper(model)
