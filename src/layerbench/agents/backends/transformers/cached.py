"""Steppers for any causal language model of transformers, with its own cache or with none.

Shape suffixes: B rows of the batch, T tokens fed at once, N cached positions, P positions kept, R
rows read, K candidate ids, V vocabulary, J key heads, E channels of a head.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from transformers import Cache, DynamicCache


class CachedStepper:
    """A key-value cache of transformers for rows of different lengths.

    Chunks are padded on the left, so that every row's logits are the last ones; the padding's
    keys stay in the cache as masked holes. When more than half of the longest row's positions
    are holes, the cache is packed.

    Args:
        model: Any causal language model whose layers all attend to everything before them.

    Raises:
        ValueError: Some layers keep another kind of state, such as a sliding window.
    """

    def __init__(self, model: nn.Module) -> None:
        if not has_full_attention(model):
            raise ValueError(
                f"{type(model).__name__} has layers without full attention: use RecomputingStepper"
            )
        self._model: Any = model
        # Renamed by transformers 5.24; the model's own code may have either.
        names = inspect.signature(model.forward).parameters
        is_renamed = "cache" in names and "past_key_values" not in names
        self._cache_name = "cache" if is_renamed else "past_key_values"
        self._device = next(model.parameters()).device
        self._cache: Cache = DynamicCache()
        self._real_BN = torch.empty(0, 0, dtype=torch.bool)
        self._batch: list[int] = []
        self._opened: list[int] = []
        self._next_row = 0

    def open(self) -> int:
        """Start an empty row."""
        row = self._next_row
        self._next_row += 1
        self._opened.append(row)
        return row

    @torch.no_grad()
    def truncate(self, row: int, *, length: int) -> None:
        """Turn all but the first tokens of a row into holes."""
        if row in self._batch:
            real_N = self._real_BN[self._batch.index(row)]
            # In place on a view of the mask: the keys stay cached, but nothing attends to them.
            real_N &= real_N.cumsum(0) <= length

    @torch.no_grad()
    def copy(self, row: int) -> int:
        """Start another row with the same tokens."""
        target = self.open()
        if row in self._batch:
            self._opened.remove(target)
            self._select([*range(len(self._batch)), self._batch.index(row)])
            self._batch.append(target)
        return target

    @torch.no_grad()
    def drop(self, rows: Iterable[int]) -> None:
        """Forget rows, and with the last one all keys and values."""
        dropped = set(rows)
        self._opened = [row for row in self._opened if row not in dropped]
        kept = [index for index, row in enumerate(self._batch) if row not in dropped]
        if not kept:
            self._batch = []
            self._real_BN = torch.empty(0, 0, dtype=torch.bool)
            self._empty()
        elif len(kept) < len(self._batch):
            self._select(kept)
            self._batch = [self._batch[index] for index in kept]

    @torch.no_grad()
    def extend(
        self, chunks: Mapping[int, Sequence[int]], candidates_RK: Int[Tensor, "R K"] | None = None
    ) -> Float[Tensor, "R K"]:
        """Append tokens to some rows, and score what may come next."""
        self._add_opened()
        if self._real_BN.shape[1] > 2 * int(self._real_BN.sum(1).max()):
            self._pack()
        ids_BT, real_BT = self._pad(chunks)
        past_B1 = self._real_BN.sum(1, keepdim=True)
        self._real_BN = torch.cat([self._real_BN, real_BT], dim=1)
        # Padding before a row's first token would get position -1.
        positions_BT = (past_B1 + real_BT.cumsum(1) - 1).clamp(min=0)
        logits_BV = self._forward(ids_BT, self._real_BN, positions_BT)
        picked = torch.tensor([self._batch.index(row) for row in chunks])
        return gather(logits_BV[picked.to(self._device)].float(), candidates_RK)

    def _forward(
        self,
        ids_BT: Int[Tensor, "B T"],
        real_BN: Bool[Tensor, "B N"],
        positions_BT: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B V"]:
        """Read tokens into the cache, and give the logits after the last."""
        output = self._model(**self._inputs(ids_BT, real_BN, positions_BT))
        return cast(Tensor, output.logits)[:, -1]

    def _inputs(
        self,
        ids_BT: Int[Tensor, "B T"],
        real_BN: Bool[Tensor, "B N"],
        positions_BT: Int[Tensor, "B T"],
    ) -> dict[str, Any]:
        return {
            "input_ids": ids_BT.to(self._device),
            # Sent as one byte each.
            "attention_mask": real_BN.to(self._device).long(),
            "position_ids": positions_BT.to(self._device),
            "use_cache": True,
            # Logits of all positions would be T times the vocabulary.
            "logits_to_keep": 1,
            self._cache_name: self._cache,
        }

    def _pad(
        self, chunks: Mapping[int, Sequence[int]]
    ) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
        width = max(map(len, chunks.values()))
        ids_BT = torch.zeros(len(self._batch), width, dtype=torch.long)
        real_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
        for index, row in enumerate(self._batch):
            chunk = chunks.get(row, ())
            if chunk:
                ids_BT[index, -len(chunk) :] = torch.tensor(chunk)
                real_BT[index, -len(chunk) :] = True
        return ids_BT, real_BT

    def _add_opened(self) -> None:
        """Add the rows opened since the last call to the batch, filled with holes."""
        count = len(self._opened)
        self._widen(count)
        blank_BN = torch.zeros(count, self._real_BN.shape[1], dtype=torch.bool)
        self._real_BN = torch.cat([self._real_BN, blank_BN])
        self._batch += self._opened
        self._opened = []

    def _select(self, indices: Sequence[int]) -> None:
        """Make the batch of these of its rows, in this order."""
        rows = torch.tensor(indices)
        self._real_BN = self._real_BN[rows]
        self._pick(rows.to(self._device))

    def _pack(self) -> None:
        """Move every row's tokens to the right end, and cut off positions without any."""
        # A stable sort by "is a token" puts holes first and keeps the order of the tokens.
        order_BN = self._real_BN.int().sort(dim=1, stable=True).indices
        order_BN = order_BN[:, -int(self._real_BN.sum(1).max()) :]
        self._real_BN = self._real_BN.gather(1, order_BN)
        self._reorder(order_BN.to(self._device))

    def _empty(self) -> None:
        """Forget all keys and values."""
        self._cache = DynamicCache()

    def _widen(self, count: int) -> None:
        """Make room for more rows behind those that are there."""

        def widened(cached: Tensor) -> Tensor:
            return torch.cat([cached, cached.new_zeros((count, *cached.shape[1:]))])

        self._replace(widened)

    def _pick(self, rows: Int[Tensor, " rows"]) -> None:
        """Keep these rows, in this order; one may be named twice."""
        self._replace(lambda cached: cached[rows.to(cached.device)])

    def _reorder(self, order_BP: Int[Tensor, "B P"]) -> None:
        """Keep these positions of each row, in this order."""
        self._replace(lambda cached: take_positions(cached, order_BP))

    def _replace(self, change: Callable[[Tensor], Tensor]) -> None:
        for layer in self._layers():
            layer.keys = change(layer.keys)
            layer.values = change(layer.values)

    def _layers(self) -> list[Any]:
        layers = cast(list[Any], self._cache.layers)
        # transformers makes a layer's tensors at its first forward pass, not before.
        return [layer for layer in layers if layer.is_initialized]


class RecomputingStepper:
    """Recomputes every row from its start in each call, without a cache.

    Right for any causal model, and slow: the reference in the tests of the others.

    Args:
        model: Any causal language model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        self._device = next(model.parameters()).device
        self._token_ids: dict[int, list[int]] = {}
        self._next_row = 0

    def open(self) -> int:
        """Start an empty row."""
        self._next_row += 1
        self._token_ids[self._next_row] = []
        return self._next_row

    def truncate(self, row: int, *, length: int) -> None:
        """Forget all but the first tokens of a row."""
        del self._token_ids[row][length:]

    def copy(self, row: int) -> int:
        """Start another row with the same tokens."""
        target = self.open()
        self._token_ids[target] = list(self._token_ids[row])
        return target

    def drop(self, rows: Iterable[int]) -> None:
        """Forget rows."""
        for row in rows:
            del self._token_ids[row]

    @torch.inference_mode()
    def extend(
        self, chunks: Mapping[int, Sequence[int]], candidates_RK: Int[Tensor, "R K"] | None = None
    ) -> Float[Tensor, "R K"]:
        """Append tokens to some rows, and score what may come next."""
        last: list[Tensor] = []
        for row, chunk in chunks.items():
            self._token_ids[row] += chunk
            ids = torch.tensor([self._token_ids[row]], device=self._device)
            last.append(self._model(input_ids=ids, use_cache=False).logits[0, -1].float())
        return gather(torch.stack(last), candidates_RK)


def take_positions(
    cached_BJNE: Num[Tensor, "B J N E"], order_BP: Int[Tensor, "B P"]
) -> Num[Tensor, "B J P E"]:
    """Take positions of each row's keys or values, in an order."""
    index = order_BP[:, None, :, None].to(cached_BJNE.device)
    return cached_BJNE.gather(2, index.expand(-1, cached_BJNE.shape[1], -1, cached_BJNE.shape[3]))


def has_full_attention(model: nn.Module) -> bool:
    """Tell whether every layer attends to all tokens before it, by the model's configuration."""
    # Recurrent layers keep a state beside or instead of keys, and a state cannot skip padding.
    if getattr(model, "_is_stateful", False):
        return False
    # For a model of text and images: the configuration of its text decoder.
    config = cast(Any, model).config.get_text_config(decoder=True)
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return set(layer_types) == {"full_attention"}
    return getattr(config, "sliding_window", None) is None


def gather(
    logits_RV: Float[Tensor, "R V"], candidates_RK: Int[Tensor, "R K"] | None
) -> Float[Tensor, "R K"]:
    """Pick the candidates' logits, or all."""
    if candidates_RK is None:
        return logits_RV
    return logits_RV.gather(1, candidates_RK.to(logits_RV.device))
