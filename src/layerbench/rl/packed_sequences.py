"""Passes over sequences that stand one after the other in a single row, without padding.

Attention must keep them apart. That of flash-attn is told their lengths and computes nothing
between them; all others would compute it, and mask it out, which costs more than padding does.

Shape suffixes: B rows, N sequences, T tokens of a row, H hidden size.
"""

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_ROUNDING = {torch.float32: (1e-4, 1e-4), torch.float64: (1e-4, 1e-4)}
_COARSE_ROUNDING = (1e-2, 1e-1)


def read(
    model: nn.Module,
    token_ids_BT: Int[Tensor, "B T"],
    *,
    packed_lengths_N: Int[Tensor, " N"] | None = None,
) -> Float[Tensor, "B T H"]:
    """Run a model up to its last hidden states.

    Args:
        model: A causal language model of transformers.
        token_ids_BT: Tokens to read.
        packed_lengths_N: Lengths of the sequences that stand in the only row; None where each row
            is a sequence.
    """
    options: dict[str, Any] = {}
    if packed_lengths_N is not None:
        longest = int(packed_lengths_N.max())
        starts = nn.functional.pad(packed_lengths_N.cumsum(0), (1, 0)).to(torch.int32)
        places_T = torch.arange(token_ids_BT.shape[1], device=token_ids_BT.device)
        begins_T = starts[:-1].repeat_interleave(packed_lengths_N)
        options = {
            "position_ids": (places_T - begins_T)[None],
            # Attention by flash-attn would else find them again in every layer.
            "cu_seq_lens_q": starts,
            "cu_seq_lens_k": starts,
            "max_length_q": longest,
            "max_length_k": longest,
        }
    body = cast(Any, model).base_model
    assert isinstance(body, nn.Module), f"{type(model).__name__} is no transformers model"
    return body(input_ids=token_ids_BT, use_cache=False, **options).last_hidden_state


def gains_by_packing(model: nn.Module) -> bool:
    """Tell whether attention has kernels for packed sequences, and the model keeps them apart."""
    config: Any = model.config
    # By its name, or that of a kernel on the Hub in its place.
    if "flash" not in str(getattr(config, "_attn_implementation", "")):
        return False
    if not keeps_packed_apart(model):
        warnings.warn(
            f"{type(model).__name__} does not keep packed sequences apart: they are padded",
            stacklevel=2,
        )
        return False
    return True


@torch.no_grad()
def keeps_packed_apart(model: nn.Module) -> bool:
    """Tell whether packed sequences get the states that each gets alone.

    They do not where a model keeps a state of another kind than keys and values, or its code knows
    nothing of packing.
    """
    device = next(model.parameters()).device
    # Token 0 is that of padding in some models, whose embedding is 0.
    first, others = [1, 2, 2, 1, 2, 1, 1], [[2, 2, 1, 2], [1]]
    changed = [3 - token for token in first]
    lengths_N = torch.tensor([len(ids) for ids in (first, *others)], device=device)
    try:
        packed_TH, beside_changed_TH = (
            read(model, _row([ids, *others], device), packed_lengths_N=lengths_N)[0, len(first) :]
            for ids in (first, changed)
        )
    except torch.OutOfMemoryError:
        raise
    # A model's own code may refuse what it does not know.
    except Exception:  # noqa: BLE001
        return False
    alone_TH = torch.cat([read(model, _row([ids], device))[0] for ids in others])
    # The same kernels read both rows; sequences alone are rounded otherwise.
    beside, alone = _ROUNDING.get(alone_TH.dtype, _COARSE_ROUNDING)
    return (
        _distance(beside_changed_TH, packed_TH) <= beside
        and _distance(alone_TH, packed_TH) <= alone
    )


def _row(sequences: Sequence[Sequence[int]], device: torch.device) -> Int[Tensor, "1 T"]:
    return torch.tensor([[token for ids in sequences for token in ids]], device=device)


def _distance(ours_TH: Float[Tensor, "T H"], theirs_TH: Float[Tensor, "T H"]) -> float:
    """Give the largest difference of a token's states, as a share of their length."""
    squares_T = (ours_TH - theirs_TH).float().square().sum(-1)
    return float((squares_T / theirs_TH.float().square().sum(-1)).amax().sqrt())
