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

from layerbench.agents.backends.transformers.cached import CachedStepper, take_positions

LEAST_POSITIONS = 512
"""Places for positions that are made at first; more come by doubling."""

RECOMPILES = 64
"""More than the doublings of rows and positions that any memory has room for."""


class StaticStepper(CachedStepper):
    """Rows as in ``CachedStepper``, in transformers' ``StaticCache``.

    Where one token a row is read, as free text is written, the model's forward is compiled
    (``mode="reduce-overhead"``: a CUDA graph), which spares a GPU the wait for the CPU to launch
    each operation. Rows and positions have places, as many as the next power of two; they are kept
    when the rows are dropped, since a graph reads and writes at their addresses.

    Args:
        model: A causal language model whose layers all attend to everything before them, and which
            transformers can compile.
        compiler: What compiles the forward; by default ``torch.compile`` into CUDA graphs.

    Raises:
        ValueError: Some layers keep another kind of state, or the model cannot be compiled whole.
    """

    def __init__(
        self, model: nn.Module, *, compiler: Callable[[Callable[..., Any]], Any] | None = None
    ) -> None:
        super().__init__(model)
        if not can_be_compiled(model):
            raise ValueError(f"transformers cannot compile {type(model).__name__} whole")
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
        for layer, before in zip(cast(list[Any], self._cache.layers), old, strict=bool(old)):
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
        self._rewind(0)

    def _widen(self, count: int) -> None:
        # What lies in a place from before is masked, and finite.
        if self._layers():
            self._fit(len(self._real_BN) + count, self._real_BN.shape[1])

    def _pick(self, rows: Int[Tensor, " rows"]) -> None:
        if self._layers():
            self._fit(len(rows), self._real_BN.shape[1])
        for tensor in self._tensors():
            # Indexing copies, so that no row is overwritten before it is read.
            tensor[: len(rows)] = tensor[rows]

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


def can_be_compiled(model: nn.Module) -> bool:
    """Tell whether a static cache and a forward compiled whole are right for a model."""
    return bool(getattr(model, "_can_compile_fullgraph", False))


def _compiler(forward: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(forward, mode="reduce-overhead", fullgraph=True, dynamic=False)  # pyright: ignore[reportUnknownMemberType]


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()
