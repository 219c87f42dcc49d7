"""The lean loop: a plain cached forward of Llama-like models, for one CPU thread.

For a small model, transformers takes more time than the arithmetic. Here the tokens of all rows lie
packed one after another, without padding, and only attention sees rows.

Shape suffixes: N packed tokens of one pass, C channels, L layers, S slots (rows of the cache),
H query heads, J key and value heads, M cached positions, E channels of a head, R rows read, K
candidate ids, V vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

from layerbench.agents.backends.transformers.packing import Pass, plan_passes

_ARCHITECTURES = (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)

# Types of rotary embedding whose frequencies do not depend on the length read so far.
_FIXED_ROTARY = ("default", "linear", "llama3", "yarn")

_GROWTH = 512
"""Least growth of the cache in positions: growing copies it, unused room takes no memory."""

_KEPT_BYTES = 2**31
"""Up to this size a cache is kept for the next rows: to take its pages anew costs 5 % of a run."""

_SMALL_VOCABULARY = 4096
"""Up to this size, scoring all ids and picking is cheaper than gathering rows of the head."""


def is_lean(model: nn.Module) -> bool:
    """Tell whether the lean loop computes the same as this model's own forward.

    True for unmodified Llama, Qwen2 and Qwen3 in float32 on the CPU, with full attention.
    """
    if type(model) not in _ARCHITECTURES:
        return False
    config = cast(Any, model).config
    plain_config = (
        config.hidden_act == "silu"
        and config.rope_parameters.get("rope_type", "default") in _FIXED_ROTARY
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    )
    plain_weights = all(
        weight.dtype == torch.float32 and weight.device.type == "cpu"
        for weight in model.parameters()
    )
    modules: dict[str, nn.Module] = dict(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]
    # Adapters replace linear layers in place, and leave the model's own type as it was.
    plain_modules = all(
        type(module) is nn.Linear
        for name, module in modules.items()
        if name.endswith(("_proj", "lm_head"))
    )
    # A hook may change what a module computes, and the loop would not call it.
    hooked = any(
        getattr(module, hooks)
        for module in modules.values()
        for hooks in ("_forward_hooks", "_forward_pre_hooks")
    )
    return plain_config and plain_weights and plain_modules and not hooked


@runtime_checkable
class _Norm(Protocol):
    """The common part of the models' root mean square norms."""

    weight: Tensor
    variance_epsilon: float


@dataclass(frozen=True, slots=True)
class _Cache:
    """Keys and values of every slot; positions beyond a row's length hold stale, finite values."""

    keys_LSJME: Float[Tensor, "L S J M E"]
    values_LSJME: Float[Tensor, "L S J M E"]
    # The hidden states that are kept, if any: else C is 0.
    states_SMC: Float[Tensor, "S M C"]

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values and states, written to or not."""
        return sum(t.nbytes for t in (self.keys_LSJME, self.values_LSJME, self.states_SMC))


class LeanStepper:
    """A ragged key-value cache over the live weights of a model that ``is_lean`` accepts.

    Every call uses the live weights, so that an optimizer step takes effect at once; rows read
    before it must be dropped by the caller.

    Args:
        model: A transformers model; it is neither copied nor changed.

    Raises:
        ValueError: The lean loop would not compute what the model does.
    """

    def __init__(self, model: nn.Module) -> None:
        if not is_lean(model):
            raise ValueError(f"the lean loop cannot stand in for {type(model).__name__} as it is")
        causal_lm = cast(Any, model)
        config = causal_lm.config
        self._head: nn.Linear = causal_lm.lm_head
        self._inner: Any = causal_lm.model
        self._layers: list[Any] = list(causal_lm.model.layers)[: config.num_hidden_layers]
        attention = self._layers[0].self_attn
        self._head_size = int(attention.head_dim)
        self._heads = int(config.num_attention_heads)
        self._key_heads = int(config.num_key_value_heads)
        self._has_head_norms = hasattr(attention, "q_norm")
        self._rotary: Any = causal_lm.model.rotary_emb
        self._cos = self._sin = torch.empty(0, self._head_size)
        self._depth = 0
        self._lengths: list[int] = []
        self._free: list[int] = []
        self._cache = self._empty_cache(slots=0, positions=0)

    def open(self) -> int:
        """Start an empty row in the lowest free slot."""
        if self._free:
            row = min(self._free)
            self._free.remove(row)
            return row
        self._lengths.append(0)
        return len(self._lengths) - 1

    def truncate(self, row: int, *, length: int) -> None:
        """Forget all but the first tokens of a row."""
        self._lengths[row] = min(length, self._lengths[row])

    def keep_states(self, depth: int) -> None:
        """Keep, from now on, the hidden states that leave the first blocks; 0 keeps none.

        Raises:
            ValueError: There are rows, or not so many blocks.
        """
        if self._lengths or not 0 <= depth <= len(self._layers):
            raise ValueError(f"states cannot be kept after {depth} blocks now")
        if depth != self._depth:
            self._depth = depth
            self._cache = self._empty_cache(slots=0, positions=0)

    def states(self, row: int) -> Float[np.ndarray, "T C"] | None:
        """Copy the states of the tokens of a row; None where none are kept."""
        if not self._depth:
            return None
        return self._cache.states_SMC[row, : self._lengths[row]].numpy().copy()

    @torch.inference_mode()
    def copy(self, row: int) -> int:
        """Start another row with the same tokens."""
        target = self.open()
        length = self._lengths[row]
        self._reserve(length)
        for cached in (self._cache.keys_LSJME, self._cache.values_LSJME):
            cached[:, target, :, :length] = cached[:, row, :, :length]
        self._cache.states_SMC[target, :length] = self._cache.states_SMC[row, :length]
        self._lengths[target] = length
        return target

    def drop(self, rows: Iterable[int]) -> None:
        """Forget rows; the last one frees the memory, where it is more than 2 GiB."""
        for row in rows:
            self._lengths[row] = 0
            self._free.append(row)
        if len(self._free) == len(self._lengths):
            self._lengths, self._free = [], []
            if self._cache.nbytes > _KEPT_BYTES:
                self._cache = self._empty_cache(slots=0, positions=0)

    @torch.inference_mode()
    def extend(
        self, chunks: Mapping[int, Sequence[int]], candidates_RK: Int[Tensor, "R K"] | None = None
    ) -> Float[Tensor, "R K"]:
        """Append tokens to some rows, and score what may come next."""
        longest = max(self._lengths[row] + len(chunk) for row, chunk in chunks.items())
        self._reserve(longest)
        # Ascending, so that neighbouring slots can share an attention call.
        order = sorted(chunks)
        last_RC = torch.cat(
            [
                self._read(part)
                for part in plan_passes(
                    {row: chunks[row] for row in order},
                    self._lengths,
                    group=self._heads // self._key_heads,
                )
            ]
        )
        for row, chunk in chunks.items():
            self._lengths[row] += len(chunk)
        ranks = {row: rank for rank, row in enumerate(order)}
        return self._score(last_RC[torch.tensor([ranks[row] for row in chunks])], candidates_RK)

    def _read(self, part: Pass) -> Float[Tensor, "R C"]:
        x_NC = functional.embedding(part.token_ids_N, self._inner.embed_tokens.weight)
        cos_N1E = self._cos[part.positions_N].unsqueeze(1)
        sin_N1E = self._sin[part.positions_N].unsqueeze(1)
        indices = self._cache_indices(part)
        for index, layer in enumerate(self._layers):
            if index and index == self._depth:
                self._keep(x_NC, part)
            attention = layer.self_attn
            y_NC = _rms_norm(x_NC, layer.input_layernorm)
            q_NHE = self._heads_of(y_NC, attention.q_proj)
            k_NJE = self._heads_of(y_NC, attention.k_proj)
            v_NJE = self._heads_of(y_NC, attention.v_proj)
            if self._has_head_norms:
                q_NHE = _rms_norm(q_NHE, attention.q_norm)
                k_NJE = _rms_norm(k_NJE, attention.k_norm)
            q_NHE = _rotate(q_NHE, cos_N1E, sin_N1E)
            k_NJE = _rotate(k_NJE, cos_N1E, sin_N1E)
            keys_SJME = self._cache.keys_LSJME[index]
            values_SJME = self._cache.values_LSJME[index]
            for cached_SJME, fresh_NJE in ((keys_SJME, k_NJE), (values_SJME, v_NJE)):
                cached_SJME.view(-1, self._head_size).index_copy_(
                    0, indices, fresh_NJE.reshape(-1, self._head_size)
                )
            attended_NC = part.attend(q_NHE, keys_SJME, values_SJME)
            _add_linear(x_NC, attended_NC, attention.o_proj)
            y_NC = _rms_norm(x_NC, layer.post_attention_layernorm)
            gate = functional.silu(_linear(y_NC, layer.mlp.gate_proj), inplace=True)
            gate.mul_(_linear(y_NC, layer.mlp.up_proj))
            _add_linear(x_NC, gate, layer.mlp.down_proj)
        if self._depth == len(self._layers):
            self._keep(x_NC, part)
        return _rms_norm(x_NC[part.last_R], self._inner.norm)

    def _keep(self, x_NC: Float[Tensor, "N C"], part: Pass) -> None:
        states_SMC = self._cache.states_SMC
        indices = part.rows_N * states_SMC.shape[1] + part.positions_N
        states_SMC.view(-1, states_SMC.shape[2]).index_copy_(0, indices, x_NC)

    def _heads_of(
        self, y_NC: Float[Tensor, "N C"], projection: nn.Linear
    ) -> Float[Tensor, "N heads E"]:
        return _linear(y_NC, projection).view(len(y_NC), -1, self._head_size)

    def _cache_indices(self, part: Pass) -> Int[Tensor, " NJ"]:
        """Index the vectors that the tokens fill, in the cache seen as one long list."""
        positions = self._cache.keys_LSJME.shape[3]
        first_N = part.rows_N * (self._key_heads * positions) + part.positions_N
        heads_J = torch.arange(self._key_heads) * positions
        return (first_N[:, None] + heads_J).reshape(-1)

    def _score(
        self, last_RC: Float[Tensor, "R C"], candidates_RK: Int[Tensor, "R K"] | None
    ) -> Float[Tensor, "R K"]:
        if candidates_RK is None:
            return _linear(last_RC, self._head)
        if self._head.out_features <= _SMALL_VOCABULARY:
            return _linear(last_RC, self._head).gather(1, candidates_RK)
        weight_RKC = self._head.weight[candidates_RK]
        scores_RK = torch.einsum("rkc,rc->rk", weight_RKC, last_RC)
        bias = cast(Tensor | None, self._head.bias)
        return scores_RK if bias is None else scores_RK + bias[candidates_RK]

    def _reserve(self, positions: int) -> None:
        """Make room for all slots, and for rows of this many positions."""
        old_keys = self._cache.keys_LSJME
        slots = max(len(self._lengths), old_keys.shape[1])
        if len(self._cos) < positions:
            self._tabulate_rotations(positions)
        if slots == old_keys.shape[1] and positions <= old_keys.shape[3]:
            return
        if slots > old_keys.shape[1]:
            slots = max(slots, 2 * old_keys.shape[1])
        if positions > old_keys.shape[3]:
            positions = max(positions + _GROWTH, 2 * old_keys.shape[3])
        grown = self._empty_cache(slots=slots, positions=max(positions, old_keys.shape[3]))
        used = max(self._lengths, default=0)
        for new, old in (
            (grown.keys_LSJME, old_keys),
            (grown.values_LSJME, self._cache.values_LSJME),
        ):
            new[:, : old_keys.shape[1], :, :used] = old[:, :, :, :used]
        grown.states_SMC[: old_keys.shape[1], :used] = self._cache.states_SMC[:, :used]
        self._cache = grown

    def _empty_cache(self, *, slots: int, positions: int) -> _Cache:
        shape = (len(self._layers), slots, self._key_heads, positions, self._head_size)
        width = self._head.in_features if self._depth else 0
        # Zeros, not empty: masked keys still enter sums, where a NaN would spread. Zeros of numpy,
        # unlike torch's, take memory only once they are written to.
        return _Cache(
            torch.as_tensor(np.zeros(shape, np.float32)),
            torch.as_tensor(np.zeros(shape, np.float32)),
            torch.as_tensor(np.zeros((slots, positions, width), np.float32)),
        )

    def _tabulate_rotations(self, positions: int) -> None:
        count = max(2 * len(self._cos), positions, 1024)
        frequencies = torch.outer(torch.arange(count).float(), self._rotary.inv_freq.float())
        angles = torch.cat([frequencies, frequencies], dim=-1)
        scale = float(self._rotary.attention_scaling)
        self._cos, self._sin = angles.cos() * scale, angles.sin() * scale
        # The rotation swaps the halves of a head and negates the first: the table holds the sign.
        self._sin[:, : self._head_size // 2].neg_()


def _linear(x: Tensor, module: nn.Linear) -> Tensor:
    return functional.linear(x, module.weight, module.bias)


def _add_linear(x_NC: Float[Tensor, "N C"], y: Float[Tensor, "N D"], module: nn.Linear) -> None:
    """Add a linear layer's output to the residual stream, in place."""
    x_NC.addmm_(y, module.weight.t())
    bias = cast(Tensor | None, module.bias)
    if bias is not None:
        x_NC.add_(bias)


def _rms_norm(x: Float[Tensor, "*N C"], module: _Norm) -> Float[Tensor, "*N C"]:
    """Normalise by the root mean square, as the model's norms do."""
    channels = x.shape[-1]
    # A matrix product, since it sums a third faster than `mean`.
    mean_square = x.square().matmul(x.new_full((channels, 1), 1.0 / channels))
    scale = mean_square.add_(module.variance_epsilon).rsqrt_()
    return scale.mul(x).mul_(module.weight)


def _rotate(
    heads_NJE: Float[Tensor, "N J E"],
    cos_N1E: Float[Tensor, "N 1 E"],
    sin_N1E: Float[Tensor, "N 1 E"],
) -> Float[Tensor, "N J E"]:
    half = heads_NJE.shape[-1] // 2
    swapped = torch.cat([heads_NJE[..., half:], heads_NJE[..., :half]], dim=-1)
    return heads_NJE.mul(cos_N1E).addcmul_(swapped, sin_N1E)
