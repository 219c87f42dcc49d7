"""A stepper whose keys and values never move, so that a token of every row can be a CUDA graph.

Shape suffixes: B rows of the batch, T tokens fed at once, N used positions, S places for rows, M
places for positions, P positions kept, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import StaticCache
from transformers.cache_utils import StaticLayer

from layerbench.agents.backends.transformers.cached import (
    CachedStepper,
    has_full_attention,
    take_positions,
)

LEAST_POSITIONS = 512
"""Places for positions that are made at first; more come by doubling."""

RECOMPILES = 64
"""More than the doublings of rows and positions that any memory has room for, each compiled with
all parameters frozen and with some that learn."""


class StaticStepper(CachedStepper):
    """Rows as in ``CachedStepper``, in transformers' ``StaticCache``.

    Where one token a row is read, as free text is written, the model's forward is compiled
    (``mode="reduce-overhead"``: a CUDA graph), which spares a GPU the wait for the CPU to launch
    each operation. Rows and positions have places, as many as the next power of two; they are kept
    when the rows are dropped, since a graph reads and writes at their addresses. How a row is
    rounded depends on the number of places, and so on what was read before.

    Args:
        model: A causal language model whose layers all attend to everything before them, and which
            transformers can compile.
        compiler: What compiles the forward; by default ``torch.compile`` into CUDA graphs.

    Raises:
        ValueError: Some layers keep another kind of state, the model cannot be compiled whole, or
            lies on several devices.
    """

    def __init__(
        self, model: nn.Module, *, compiler: Callable[[Callable[..., Any]], Any] | None = None
    ) -> None:
        if problem := why_not_static(model):
            raise ValueError(problem)
        super().__init__(model)
        self._compiled = (compiler or _compiler)(model.forward)
        self._slots = self._positions = 0

    def _forward(
        self,
        ids_BT: Int[Tensor, "B T"],
        real_BN: Bool[Tensor, "B N"],
        positions_BT: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B V"]:
        (rows, width), used = ids_BT.shape, real_BN.shape[1]
        self._fit(rows, used)
        real_SM = torch.zeros(self._slots, self._positions, dtype=torch.bool)
        real_SM[:rows, :used] = real_BN
        inputs = self._inputs(self._spread(ids_BT), real_SM, self._spread(positions_BT))
        # transformers makes the cache in its first pass, which is not to be a graph.
        if width > 1 or not self._layers():
            return cast(Tensor, self._model(**inputs).logits)[:rows, -1]
        # The logits are in the graph's own memory, which its next replay writes to.
        torch.compiler.cudagraph_mark_step_begin()
        with torch._dynamo.config.patch(recompile_limit=RECOMPILES):  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
            return cast(Tensor, self._compiled(**inputs).logits)[:rows, -1].clone()

    def _spread(self, numbers_BT: Int[Tensor, "B T"]) -> Int[Tensor, "S T"]:
        """Fill places without a row with zeros."""
        spread_ST = numbers_BT.new_zeros(self._slots, numbers_BT.shape[1])
        spread_ST[: len(numbers_BT)] = numbers_BT
        return spread_ST

    def _fit(self, rows: int, used: int) -> None:
        """See to it that there are places for so many rows and positions."""
        if rows <= self._slots and used <= self._positions:
            return
        self._slots = max(self._slots, _power_of_two(rows))
        self._positions = max(self._positions, _power_of_two(used), LEAST_POSITIONS)
        old = self._layers()
        self._cache = StaticCache(self._model.config, max_cache_len=self._positions)
        for layer in cast(list[Any], self._cache.layers)[: len(old)]:
            # Forgotten once it is copied, so that one layer at a time is there twice.
            before = old.pop(0)
            # Sizes of heads are those of the layer before: models differ in where they tell them.
            blanks = [
                tensor.new_empty(self._slots, tensor.shape[1], 0, tensor.shape[3])
                for tensor in (before.keys, before.values)
            ]
            layer.lazy_initialization(*blanks)
            places = slice(before.keys.shape[0]), slice(None), slice(before.keys.shape[2])
            layer.keys[places], layer.values[places] = before.keys, before.values
            layer.cumulative_length.copy_(before.cumulative_length)

    def _empty(self) -> None:
        for tensor in self._tensors():
            # Masked, but a place that is not finite would spoil the rows that come to it.
            tensor.zero_()
        self._rewind(0)

    def _widen(self, count: int) -> None:
        # What lies in a place from before is masked.
        if self._layers():
            self._fit(len(self._real_BN) + count, self._real_BN.shape[1])

    def _pick(self, rows: Int[Tensor, " rows"]) -> None:
        used = self._real_BN.shape[1]
        if self._layers():
            self._fit(len(rows), used)
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()
        if not len(moved):
            return
        first = int(moved[0])
        for tensor in self._tensors():
            # Indexing copies, so that no row is overwritten before it is read.
            tensor[first : len(rows), :, :used] = tensor[rows[first:], :, :used]

    def _reorder(self, order_BP: Int[Tensor, "B P"]) -> None:
        rows, kept = order_BP.shape
        for tensor in self._tensors():
            tensor[:rows, :, :kept] = take_positions(tensor[:rows], order_BP)
        self._rewind(kept)

    def _rewind(self, used: int) -> None:
        """Let the next token be written behind so many positions."""
        for layer in self._layers():
            # In place: the graph reads it from its address.
            layer.cumulative_length.fill_(used)

    def _tensors(self) -> list[Tensor]:
        return [tensor for layer in self._layers() for tensor in (layer.keys, layer.values)]


def why_not_static(model: nn.Module) -> str:
    """Say why a model cannot be decoded in a static cache; empty if it can."""
    name = type(model).__name__
    if not has_full_attention(model):
        return f"{name} has layers without full attention"
    if not getattr(model, "_can_compile_fullgraph", False):
        return f"transformers cannot compile {name} whole"
    implementation = getattr(cast(Any, model).config, "_attn_implementation", None)
    if "flash" in str(implementation):
        return f"{implementation} takes no cache of fixed size"
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return f"{name} lies on several devices"
    if not hasattr(StaticLayer(max_cache_len=1), "cumulative_length"):
        return "the static cache of this version of transformers cannot be rewound"
    return ""


def _compiler(forward: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(forward, mode="reduce-overhead", fullgraph=True, dynamic=False)  # pyright: ignore[reportUnknownMemberType]


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()
