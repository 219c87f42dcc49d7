"""Passes over sequences that stand one after the other in a single row, without padding.

Attention must keep them apart. That of flash-attn is told their lengths and computes nothing
between them; all others would compute it, and mask it out, which costs more than padding does.

Shape suffixes: B rows, N sequences, T tokens of a row, H hidden size.
"""

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

TOLERANCES = {torch.float32: 1e-4}
"""Largest difference that rounding makes, in shares of the largest state; of other dtypes 0.03."""


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
    attention = str(getattr(config, "_attn_implementation", ""))
    return attention.startswith("flash_attention") and keeps_packed_apart(model)


@torch.no_grad()
def keeps_packed_apart(model: nn.Module) -> bool:
    """Tell whether packed sequences get the states that each gets alone.

    They do not where a model keeps a state of another kind than keys and values, or its code knows
    nothing of packing.
    """
    device = next(model.parameters()).device
    sequences = [[0, 1, 1, 0, 1, 0, 0], [1, 1, 0, 1], [0]]
    lengths_N = torch.tensor([len(ids) for ids in sequences], device=device)
    row_BT = torch.tensor([[token for ids in sequences for token in ids]], device=device)
    try:
        packed_TH = read(model, row_BT, packed_lengths_N=lengths_N)[0]
    # A model's own code may refuse what it does not know.
    except Exception:  # noqa: BLE001
        return False
    alone_TH = torch.cat([read(model, torch.tensor([i], device=device))[0] for i in sequences])
    tolerance = TOLERANCES.get(alone_TH.dtype, 0.03)
    return bool((packed_TH - alone_TH).abs().max() <= tolerance * alone_TH.abs().max())
