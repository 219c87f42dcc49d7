from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from layerbench.rl.batching import TrainingSequence, collate
from layerbench.rl.policy import check_head, decision_scores

FAMILIES = ("qwen3", "llama")
ModelMaker = Callable[[str], nn.Module]


def sequence(token_ids: list[int], allowed: dict[int, tuple[int, ...]]) -> TrainingSequence:
    zeros = np.zeros(len(allowed), np.float32)
    return TrainingSequence(
        token_ids_T=np.array(token_ids),
        positions_D=np.array(list(allowed)),
        allowed=tuple(allowed.values()),
        old_logprobs_D=zeros,
        advantages_D=zeros,
    )


SEQUENCES = (
    sequence([1, 5, 7, 9, 3], {1: (4, 5), 4: (0, 3, 8, 12)}),
    sequence([2, 6, 30, 31, 32, 33, 34, 35, 8], {2: (30, 39), 8: (7, 8)}),
    sequence([2, 9], {1: (9, 10, 11)}),
)


def brute_force(
    model: nn.Module, sequence: TrainingSequence, temperature: float
) -> tuple[list[float], list[float]]:
    """One full pass for every prefix, one by one, in plain words."""
    logprobs: list[float] = []
    entropies: list[float] = []
    for position, allowed in zip(sequence.positions_D.tolist(), sequence.allowed, strict=True):
        prefix = torch.tensor([sequence.token_ids_T[:position].tolist()])
        with torch.no_grad():
            logits_V = model(input_ids=prefix).logits[0, -1] / temperature
        ids = list(allowed) or list(range(len(logits_V)))
        probabilities = {i: float(logits_V[i].exp() / logits_V[ids].exp().sum()) for i in ids}
        logprobs.append(float(np.log(probabilities[int(sequence.token_ids_T[position])])))
        entropies.append(-sum(p * float(np.log(p)) for p in probabilities.values()))
    return logprobs, entropies


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_scores_of_a_padded_batch_are_those_of_each_prefix_alone(
    make_model: ModelMaker, family: str, temperature: float
) -> None:
    model = make_model(family)
    logprobs_D, entropy_D = decision_scores(model, collate(SEQUENCES), temperature=temperature)
    expected = [brute_force(model, one, temperature) for one in SEQUENCES]
    torch.testing.assert_close(
        logprobs_D.detach(), torch.tensor([x for e in expected for x in e[0]]), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        entropy_D.detach(), torch.tensor([x for e in expected for x in e[1]]), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_open_vocabulary_is_scored_over_all_tokens(make_model: ModelMaker, family: str) -> None:
    model = make_model(family)
    free = sequence([1, 5, 7, 9], {2: (), 3: ()})
    logprobs_D, entropy_D = decision_scores(model, collate([free]), temperature=0.7)
    logprobs, entropies = brute_force(model, free, 0.7)
    torch.testing.assert_close(logprobs_D.detach(), torch.tensor(logprobs), rtol=0, atol=1e-5)
    torch.testing.assert_close(entropy_D.detach(), torch.tensor(entropies), rtol=0, atol=1e-5)


def test_listing_the_whole_vocabulary_equals_leaving_it_open(make_model: ModelMaker) -> None:
    model = make_model("qwen3")
    listed = collate([sequence([1, 5, 7], {2: tuple(range(40))})])
    free = collate([sequence([1, 5, 7], {2: ()})])
    for ours, theirs in zip(
        decision_scores(model, listed, temperature=1.0),
        decision_scores(model, free, temperature=1.0),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_finite_and_those_of_the_brute_force(
    make_model: ModelMaker, family: str
) -> None:
    model = make_model(family)
    logprobs_D, entropy_D = decision_scores(model, collate(SEQUENCES), temperature=1.0)
    (logprobs_D.sum() + entropy_D.sum()).backward()  # pyright: ignore[reportUnknownMemberType]
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    for one in SEQUENCES:
        logits_TV = model(input_ids=torch.tensor([one.token_ids_T.tolist()])).logits[0]
        for position, allowed in zip(one.positions_D.tolist(), one.allowed, strict=True):
            scores = logits_TV[position - 1, list(allowed)].log_softmax(-1)
            chosen = allowed.index(int(one.token_ids_T[position]))
            (scores[chosen] - (scores.exp() * scores).sum()).backward(retain_graph=True)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-5)


def test_padding_does_not_change_scores(make_model: ModelMaker) -> None:
    model = make_model("qwen3")
    alone, _ = decision_scores(model, collate(SEQUENCES[2:]), temperature=1.0)
    together, _ = decision_scores(model, collate(SEQUENCES), temperature=1.0)
    torch.testing.assert_close(together[-1:], alone, rtol=0, atol=1e-6)


def test_layers_below_the_first_that_learns_keep_no_graph(make_model: ModelMaker) -> None:
    model = make_model("qwen3").requires_grad_(False)
    blocks = model.get_submodule("model.layers")
    blocks.get_submodule("2").requires_grad_(True)
    needs_grad: dict[str, bool] = {}
    for name, block in blocks.named_children():

        def note(_: object, __: object, output: torch.Tensor, name: str = name) -> None:
            needs_grad[name] = output.requires_grad

        block.register_forward_hook(note)
    decision_scores(model, collate(SEQUENCES), temperature=1.0)
    assert needs_grad == {"0": False, "1": False, "2": True, "3": True}


def test_check_accepts_plain_heads(make_model: ModelMaker) -> None:
    for family in FAMILIES:
        check_head(make_model(family))


def test_check_refuses_a_model_that_scales_its_logits(make_model: ModelMaker) -> None:
    class ScaledHead(nn.Module):
        """A causal language model that does more than its head."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.base_model = model.base_model
            self.inner = model

        def get_output_embeddings(self) -> object:
            return self.inner.get_submodule("lm_head")

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            output = self.inner(input_ids=input_ids, use_cache=use_cache)
            output.logits = output.logits * 0.5
            return output

    with pytest.raises(ValueError, match="ScaledHead does more to its logits"):
        check_head(ScaledHead(make_model("qwen3")))
