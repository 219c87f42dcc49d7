"""Log-probabilities and entropies of a batch's decisions under a model.

Shape suffixes: B rows, T tokens of a row, D decisions, K tokens a decision was chosen
from, U distinct tokens that any decision was chosen from, V vocabulary, H hidden size.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from layerbench.errors import UserError
from layerbench.rl.frozen_prefix import FrozenPrefix
from layerbench.rl.open_vocabulary import open_scores
from layerbench.rl.packed_sequences import read
from layerbench.rl.tensors import TrainingBatch

# Settings of transformers that change logits behind the head, by the value that has no effect.
_LOGIT_CHANGES = {
    "final_logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
}


def decision_scores(
    model: nn.Module,
    batch: TrainingBatch,
    *,
    temperature: float,
    prefix: FrozenPrefix | None = None,
) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Compute each decision's log-probability, and the entropy of its distribution, in nats.

    One pass over the batch without a mask: padding stands after the real tokens, and causal
    attention never looks ahead; packed sequences are kept apart by their lengths. The head is
    applied only where decisions were made, and only to tokens that could have been chosen: a chunk
    of decisions at a time where these are the whole vocabulary. Gradients reach both results.

    Args:
        model: A causal language model whose logits are its head applied to the last hidden
            states: see ``check_head``.
        batch: Decisions to score.
        temperature: The one they were sampled at, above 0.
        prefix: The model's frozen blocks, which are not run where the batch has their states.
    """
    device, head = batch.tokens_D.device, _head(model)
    tokens_D = batch.tokens_D.to(head.weight.device)
    if batch.allowed_DK.shape[1] == 0:
        hidden_DH = _decision_states(model, batch, prefix).to(head.weight.device)
        logprobs_D, entropy_D = open_scores(hidden_DH, head, tokens_D, temperature=temperature)
        return logprobs_D.to(device), entropy_D.to(device)
    scores_DK, is_allowed_DK = log_distributions(
        model, batch, temperature=temperature, prefix=prefix
    )
    is_chosen_DK = batch.allowed_DK.to(scores_DK.device) == tokens_D[:, None]
    entropy_D = -(scores_DK.exp() * is_allowed_DK * scores_DK).sum(-1)
    return (scores_DK * is_chosen_DK).sum(-1).to(device), entropy_D.to(device)


def log_distributions(
    model: nn.Module,
    batch: TrainingBatch,
    *,
    temperature: float = 1.0,
    prefix: FrozenPrefix | None = None,
) -> tuple[Float[Tensor, "D K"], Bool[Tensor, "..."]]:
    """Compute the log-probabilities (nats) of all tokens that each decision was chosen from.

    Args:
        model: As of ``decision_scores``, which has the rest.
        batch: Decisions to score; K is the vocabulary where it was open.
        temperature: Above 0.
        prefix: As of ``decision_scores``.

    Returns:
        The log-probabilities, 0 for what is no token, and which of them are of tokens: all of them
        at once, by a single value, where the vocabulary was open.
    """
    head = _head(model)
    # Parts of a large model may lie on several devices.
    device = head.weight.device
    hidden_DH = _decision_states(model, batch, prefix).to(device)
    allowed_DK = batch.allowed_DK.to(device)
    if allowed_DK.shape[1] == 0:
        logits_DV = head(hidden_DH).float() / temperature
        return logits_DV.log_softmax(-1), torch.ones((), dtype=torch.bool, device=device)
    ids_U, columns_DK = _distinct(allowed_DK.clamp(min=0))
    # Few of a large vocabulary's tokens are ever allowed: the full product would dwarf the rest.
    bias_U = None if head.bias is None else head.bias[ids_U]  # pyright: ignore[reportUnnecessaryComparison]
    logits_DU = nn.functional.linear(hidden_DH, head.weight[ids_U], bias_U).float() / temperature
    is_allowed_DK = allowed_DK >= 0
    logits_DK = logits_DU.gather(1, columns_DK).masked_fill(~is_allowed_DK, -torch.inf)
    # -inf times 0 would be nan, forwards and backwards.
    return logits_DK.log_softmax(-1).masked_fill(~is_allowed_DK, 0.0), is_allowed_DK


def check_head(model: nn.Module) -> None:
    """Make sure that the model's logits are its head applied to its last hidden states.

    Raises:
        UserError: They are not, for example because the model caps or scales its logits.
    """
    # The configuration is looked up as well, since a cap hardly changes small logits.
    config = getattr(model, "config", None)
    for name, harmless in _LOGIT_CHANGES.items():
        if getattr(config, name, None) not in (None, harmless):
            raise _unsupported(model)
    device = next(model.parameters()).device
    token_ids_BT = torch.tensor([[0, 1]], device=device)
    with torch.no_grad():
        logits_DV = model(input_ids=token_ids_BT, use_cache=False).logits[0]
        head = _head(model)
        ours_DV = head(read(model, token_ids_BT)[0].to(head.weight.device)).to(device)
    if not torch.allclose(logits_DV, ours_DV, rtol=1e-3, atol=1e-3):
        raise _unsupported(model)


def _unsupported(model: nn.Module) -> UserError:
    return UserError(
        f"{type(model).__name__} does more to its logits than apply its head to the last "
        "hidden states, which training does not support: choose another model"
    )


def _decision_states(
    model: nn.Module, batch: TrainingBatch, prefix: FrozenPrefix | None
) -> Float[Tensor, "D H"]:
    """Run the model, and pick the hidden states that predict the decided tokens."""
    # The last decided token predicts no other: it need not be read.
    last = int(batch.positions_D.max())
    begun = nullcontext()
    if prefix is not None and batch.states_BSH is not None:
        begun = prefix.given(batch.states_BSH)
    with begun:
        hidden_BTH = read(
            model,
            batch.token_ids_BT[:, :last],
            packed_lengths_N=batch.packed_lengths_N,
        )
    device = hidden_BTH.device
    rows_D = torch.zeros_like(batch.rows_D) if batch.is_packed else batch.rows_D
    # The state at a position predicts the token at the next one.
    return hidden_BTH[rows_D.to(device), (batch.positions_D - 1).to(device)]


def _head(model: nn.Module) -> nn.Linear:
    find: Callable[[], object] = getattr(model, "get_output_embeddings")  # noqa: B009
    head = find()
    if not isinstance(head, nn.Linear):
        raise UserError(f"{type(model).__name__} has no linear head over its vocabulary")
    return head


def _distinct(ids_DK: Int[Tensor, "D K"]) -> tuple[Int[Tensor, " U"], Int[Tensor, "D K"]]:
    """List the distinct ids, and the index of each id among them."""
    return torch.unique(ids_DK, return_inverse=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
