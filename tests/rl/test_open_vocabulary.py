"""Scores over a whole vocabulary in chunks are those of plain autograd, in bounded memory."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from layerbench.rl import open_vocabulary
from layerbench.rl.batching import collate
from layerbench.rl.open_vocabulary import open_scores
from layerbench.rl.policy import decision_scores
from tests.rl.test_policy import ModelMaker, sequence

DECISIONS, VOCABULARY, HIDDEN = 23, 101, 8
TEMPERATURE = 0.7
TOLERANCE = 1e-5


def in_chunks_of(decisions: int, monkeypatch: pytest.MonkeyPatch, vocabulary: int) -> None:
    # Not a multiple: what is left over makes no chunk longer.
    numbers = decisions * vocabulary + vocabulary // 2
    monkeypatch.setattr(open_vocabulary, "CHUNK_NUMBERS", numbers)


def make_head(*, bias: bool, learns: bool = True, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    return nn.Linear(HIDDEN, VOCABULARY, bias=bias, dtype=dtype).requires_grad_(learns)


def states(dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(1)  # pyright: ignore[reportUnknownMemberType]
    return (3 * torch.randn(DECISIONS, HIDDEN)).to(dtype).requires_grad_(True)


def backward(
    logprobs_D: Tensor, entropy_D: Tensor, hidden_DH: Tensor, head: nn.Linear
) -> dict[str, Tensor]:
    """Give the gradients of a loss in which both scores of each decision weigh differently."""
    factors_D = torch.linspace(-1, 2, DECISIONS)
    loss = (factors_D * logprobs_D).sum() + (factors_D.flip(0) * entropy_D.square()).sum()
    hidden_DH.grad = None
    head.zero_grad(set_to_none=True)
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
    grads = {"hidden": hidden_DH.grad, **{n: p.grad for n, p in head.named_parameters()}}
    return {name: grad for name, grad in grads.items() if grad is not None}


def score(head: nn.Linear, hidden_DH: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    tokens_D = torch.arange(DECISIONS) * 4
    logprobs_D, entropy_D = open_scores(hidden_DH, head, tokens_D, temperature=TEMPERATURE)
    gradients = backward(logprobs_D, entropy_D, hidden_DH, head)
    return logprobs_D.detach(), entropy_D.detach(), gradients


def score_plainly(head: nn.Linear, hidden_DH: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Score as one would without thinking of memory."""
    scores_DV = (head(hidden_DH).float() / TEMPERATURE).log_softmax(-1)
    logprobs_D = scores_DV[torch.arange(DECISIONS), torch.arange(DECISIONS) * 4]
    entropy_D = -(scores_DV.exp() * scores_DV).sum(-1)
    gradients = backward(logprobs_D, entropy_D, hidden_DH, head)
    return logprobs_D.detach(), entropy_D.detach(), gradients


def assert_all_close(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=TOLERANCE, atol=TOLERANCE)


# All at once, one more than all, even and uneven chunks, one decision a chunk.
@pytest.mark.parametrize("size", [DECISIONS, DECISIONS + 1, 22, 12, 5, 1])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_scores_and_gradients_are_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, size: int, bias: bool, learns: bool
) -> None:
    in_chunks_of(size, monkeypatch, VOCABULARY)
    head, hidden_DH = make_head(bias=bias, learns=learns), states()
    *plain, plain_gradients = score_plainly(head, hidden_DH)
    *ours, gradients = score(head, hidden_DH)
    assert ("weight" in gradients) == learns
    torch.testing.assert_close(ours, plain, rtol=TOLERANCE, atol=TOLERANCE)
    assert_all_close(gradients, plain_gradients)


def test_chunks_of_coarse_weights_add_up_without_further_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head, hidden_DH = make_head(bias=False, dtype=torch.bfloat16), states(torch.bfloat16)
    tokens_D = torch.zeros(DECISIONS, dtype=torch.int64)
    logits_DV = nn.functional.linear(hidden_DH, head.weight).detach().float().requires_grad_(True)
    logits_DV.log_softmax(-1)[:, 0].sum().backward()  # pyright: ignore[reportUnknownMemberType]
    assert logits_DV.grad is not None
    exact = logits_DV.grad.bfloat16().float().T @ hidden_DH.detach().float()
    in_chunks_of(1, monkeypatch, VOCABULARY)
    logprobs_D, _ = open_scores(hidden_DH, head, tokens_D, temperature=1.0)
    logprobs_D.sum().backward()  # pyright: ignore[reportUnknownMemberType]
    assert head.weight.grad is not None
    rounding = (exact.bfloat16().float() - exact).square().mean()
    error = (head.weight.grad.float() - exact).square().mean()
    assert error <= 3 * rounding


def test_a_head_that_alone_learns_has_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    in_chunks_of(5, monkeypatch, VOCABULARY)
    head, tokens_D = make_head(bias=True), torch.arange(DECISIONS)
    hidden_DH = states().detach()
    gradients: list[Tensor | None] = []
    for factor in (1, 1000):
        in_chunks_of(5 * factor, monkeypatch, VOCABULARY)
        head.zero_grad(set_to_none=True)
        logprobs_D, _ = open_scores(hidden_DH, head, tokens_D, temperature=TEMPERATURE)
        logprobs_D.sum().backward()  # pyright: ignore[reportUnknownMemberType]
        gradients.append(head.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=TOLERANCE, atol=TOLERANCE)


class Largest(TorchDispatchMode):
    """Notes the most numbers of any tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.numbers = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.numbers = max(self.numbers, leaf.numel())
        return result


@pytest.mark.parametrize(("size", "is_bounded"), [(4, True), (DECISIONS, False)])
def test_no_tensor_of_all_decisions_and_tokens_is_made_or_kept(
    monkeypatch: pytest.MonkeyPatch, size: int, is_bounded: bool
) -> None:
    in_chunks_of(size, monkeypatch, VOCABULARY)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    def give(tensor: Tensor) -> Tensor:
        return tensor

    with Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, give):
        score(make_head(bias=True), states())
    everything = DECISIONS * VOCABULARY
    most = max(size * VOCABULARY, HIDDEN * VOCABULARY)
    assert (largest.numbers < everything) == is_bounded
    assert largest.numbers <= most
    assert (max(kept) < everything) == is_bounded


def test_a_model_is_scored_alike_in_chunks(
    make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("qwen3")
    rng = np.random.default_rng(0)
    free = [sequence(rng.integers(0, 40, 9).tolist(), dict.fromkeys(range(2, 9), ()))] * 3
    found: list[dict[str, Tensor]] = []
    for size in (1000, 4):
        in_chunks_of(size, monkeypatch, 40)
        model.zero_grad(set_to_none=True)
        logprobs_D, entropy_D = decision_scores(model, collate(free), temperature=TEMPERATURE)
        (logprobs_D.sin() + entropy_D).mean().backward()  # pyright: ignore[reportUnknownMemberType]
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append({**grads, "logprobs": logprobs_D.detach(), "entropy": entropy_D.detach()})
    assert_all_close(found[1], found[0])
