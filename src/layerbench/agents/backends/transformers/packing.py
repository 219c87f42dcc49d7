"""Packing: divides ragged rows into passes, and the rows of a pass into attention calls.

Shape suffixes: N packed tokens of one pass, P tokens padded per run, S slots (rows of the
cache), H query heads, J key and value heads, M cached positions, E channels of a head, R rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

_PASS_TOKENS = 512
"""Tokens of one pass: with more, activations between operations leave a core's cache."""

_CALL_COST = 6000
"""Overhead of one attention call, in pairs of a query and a key."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """New tokens of one row: ``width`` tokens after the ``past`` ones in the cache."""

    row: int
    past: int
    width: int


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring slots of one attention call, padded to the widest chunk.

    Attributes:
        first: The first slot.
        count: Number of slots.
        width: Queries of each slot, padding included.
        reach: Number of keys, from the start of each slot, that enter the call.
        mask: Added to the scores, for each slot, query and key; None if every query sees all
            keys, or ``causal`` is set.
        causal: Mask causally; the rows are new, so that query and key positions are equal.
    """

    first: int
    count: int
    width: int
    reach: int
    mask: Float[Tensor, "count 1 queries reach"] | None
    causal: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """Tokens that go through the model together.

    Attributes:
        token_ids_N: The chunks of its rows, one after another.
        positions_N: Position of each token in its row, from 0.
        rows_N: Row (slot) of each token.
        last_R: Index of each row's last token among the packed ones.
        runs: The rows by attention call, in the same order.
        pad_P: For each padded query, the packed token it repeats; None if nothing is padded.
        unpad_N: Index of each packed token among the padded ones.
    """

    token_ids_N: Int[Tensor, " N"]
    positions_N: Int[Tensor, " N"]
    rows_N: Int[Tensor, " N"]
    last_R: Int[Tensor, " R"]
    runs: tuple[Run, ...]
    pad_P: Int[Tensor, " P"] | None
    unpad_N: Int[Tensor, " N"]

    def attend(
        self,
        q_NHE: Float[Tensor, "N H E"],
        keys_SJME: Float[Tensor, "S J M E"],
        values_SJME: Float[Tensor, "S J M E"],
    ) -> Float[Tensor, "N C"]:
        """Let every token attend to its row up to itself; the output concatenates the heads."""
        q_PHE = q_NHE if self.pad_P is None else q_NHE.index_select(0, self.pad_P)
        num_heads, size = q_NHE.shape[1:]
        key_heads = keys_SJME.shape[1]
        parts: list[Tensor] = []
        start = 0
        for run in self.runs:
            count, width = run.count, run.width
            end = start + count * width
            # Heads that share keys become further queries, so that keys are not repeated.
            q = q_PHE[start:end].view(count, width, key_heads, -1, size)
            q = q.permute(0, 2, 1, 3, 4).reshape(count, key_heads, -1, size)
            slots = slice(run.first, run.first + count)
            out = functional.scaled_dot_product_attention(
                q,
                keys_SJME[slots, :, : run.reach],
                values_SJME[slots, :, : run.reach],
                attn_mask=run.mask,
                is_causal=run.causal,
            )
            out = out.view(count, key_heads, width, -1, size).permute(0, 2, 1, 3, 4)
            parts.append(out.reshape(count * width, num_heads * size))
            start = end
        padded = torch.cat(parts) if len(parts) > 1 else parts[0]
        return padded if self.pad_P is None else padded.index_select(0, self.unpad_N)


def plan_passes(
    chunks: Mapping[int, Sequence[int]], lengths: Sequence[int], *, group: int
) -> Iterator[Pass]:
    """Divide rows, in the order given, into passes of bounded size.

    Args:
        chunks: Tokens to read by row, ascending.
        lengths: Number of cached tokens, indexed by row.
        group: Query heads that share a key head.
    """
    part: list[_Chunk] = []
    tokens = 0
    for row, token_ids in chunks.items():
        # A chunk is never divided: one that is longer than the bound gets a pass of its own.
        if part and tokens + len(token_ids) > _PASS_TOKENS:
            yield _plan_pass(part, chunks, group)
            part, tokens = [], 0
        part.append(_Chunk(row, lengths[row], len(token_ids)))
        tokens += len(token_ids)
    yield _plan_pass(part, chunks, group)


def _plan_pass(part: list[_Chunk], chunks: Mapping[int, Sequence[int]], group: int) -> Pass:
    widths = torch.tensor([chunk.width for chunk in part])
    ends_R = widths.cumsum(0)
    starts_R = ends_R - widths
    total = int(ends_R[-1])
    within_N = torch.arange(total) - starts_R.repeat_interleave(widths)
    pasts_R = torch.tensor([chunk.past for chunk in part])
    runs = list(_split(part))
    run_widths = torch.tensor([max(c.width for c in run) for run in runs for _ in run])
    padded_starts_R = run_widths.cumsum(0) - run_widths
    pad_P: Tensor | None = None
    if not torch.equal(run_widths, widths):
        inside_P = torch.arange(int(run_widths.sum()))
        inside_P -= padded_starts_R.repeat_interleave(run_widths)
        last_P = (widths - 1).repeat_interleave(run_widths)
        pad_P = starts_R.repeat_interleave(run_widths) + torch.minimum(inside_P, last_P)
    return Pass(
        token_ids_N=torch.tensor([token for chunk in part for token in chunks[chunk.row]]),
        positions_N=pasts_R.repeat_interleave(widths) + within_N,
        rows_N=torch.tensor([chunk.row for chunk in part]).repeat_interleave(widths),
        last_R=ends_R - 1,
        runs=tuple(_plan_run(run, group) for run in runs),
        pad_P=pad_P,
        unpad_N=padded_starts_R.repeat_interleave(widths) + within_N,
    )


def _split(part: list[_Chunk]) -> Iterator[list[_Chunk]]:
    """Join neighbouring slots as long as padding them costs less than another call."""
    run: list[_Chunk] = []
    width = reach = needed = 0
    for chunk in part:
        wider = max(width, chunk.width)
        farther = max(reach, chunk.past + chunk.width)
        pairs = chunk.width * (chunk.past + chunk.width)
        waste = (len(run) + 1) * wider * farther - needed - pairs
        # Neighbouring slots only: a call takes its keys as one slice of the cache, without a copy.
        if run and (chunk.row != run[-1].row + 1 or waste > _CALL_COST):
            yield run
            run, needed = [], 0
            wider, farther = chunk.width, chunk.past + chunk.width
        run.append(chunk)
        width, reach, needed = wider, farther, needed + pairs
    yield run


def _plan_run(run: list[_Chunk], group: int) -> Run:
    width = max(chunk.width for chunk in run)
    reach = max(chunk.past + chunk.width for chunk in run)
    # With grouped heads several queries share a position, so that a causal mask would be wrong.
    if width > 1 and group == 1 and all(chunk.past == 0 for chunk in run):
        return Run(run[0].row, len(run), width, reach, mask=None, causal=True)
    mask: Tensor | None = None
    if width > 1 or any(chunk.past + 1 < reach for chunk in run):
        pasts = torch.tensor([chunk.past for chunk in run])
        seen = pasts[:, None, None] + torch.arange(width)[:, None] >= torch.arange(reach)
        mask = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))
        mask = mask.repeat_interleave(group, dim=1)[:, None]
    return Run(run[0].row, len(run), width, reach, mask, causal=False)
