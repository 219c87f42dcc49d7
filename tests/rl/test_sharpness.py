"""Entropy of a policy's decisions, and its divergence from the base, on what it played."""

import math

import pytest
import torch
from torch import nn

from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.envs.types import Observation
from layerbench.rl import sharpness
from layerbench.rl.layers import BaseWeights
from tests.support.random_models import ModelMaker


def turn(
    prompt: tuple[int, ...], tokens: tuple[int, ...], allowed: tuple[tuple[int, ...], ...]
) -> Turn:
    return Turn(
        observation=Observation("", ()),
        response=Response(prompt, tokens, (0.0,) * len(tokens), allowed, ""),
        action="",
        valid=True,
        reward=0.0,
    )


def episode(*turns: Turn, context: ContextMode = ContextMode.TRANSCRIPT) -> Trajectory:
    return Trajectory("t", "", 0, context, turns, StopReason.TERMINATED, success=False)


def distributions(
    model: nn.Module, ids: list[int], positions: list[int], allowed: list[tuple[int, ...]]
) -> list[torch.Tensor]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    return [
        logits[position - 1][list(among) or slice(None)].log_softmax(-1)
        for position, among in zip(positions, allowed, strict=True)
    ]


@pytest.mark.parametrize("is_open", [False, True])
def test_both_are_those_of_the_plain_model(make_model: ModelMaker, is_open: bool) -> None:
    model = make_model("qwen3")
    first, second = ((), ()) if is_open else ((3, 5, 9), (2, 7))
    # A transcript of two turns; the token that is forced, with one id allowed, is no decision.
    played = episode(
        turn((1, 4), (3, 6), (first, (6,)) if not is_open else (first, ())),
        turn((8, 8, 2), (7,), (second,)),
    )
    ids, positions = [1, 4, 3, 6, 8, 8, 2, 7], [2, 7]
    allowed = [first, second]
    if is_open:
        positions, allowed = [2, 3, 7], [(), (), ()]
    before = distributions(model, ids, positions, allowed)
    parameters = {n: p for n, p in model.named_parameters() if ".1." in n}
    base = BaseWeights(parameters)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    after = distributions(model, ids, positions, allowed)
    measured = sharpness.measure(model, [played], base=base, micro_batch_tokens=64)
    assert measured is not None
    entropies = [-(p.exp() * p).sum() for p in after]
    divergences = [(p.exp() * (p - q)).sum() for p, q in zip(after, before, strict=True)]
    assert math.isclose(measured.entropy, float(torch.stack(entropies).mean()), rel_tol=1e-4)
    assert measured.kl is not None
    assert math.isclose(measured.kl, float(torch.stack(divergences).mean()), rel_tol=1e-3)
    # The trained weights are back, and of the base alone there is no divergence.
    again = distributions(model, ids, positions, allowed)
    assert all(torch.equal(a, b) for a, b in zip(after, again, strict=True))
    alone = sharpness.measure(model, [played], base=None, micro_batch_tokens=64)
    assert alone is not None
    assert (alone.entropy, alone.kl) == (pytest.approx(measured.entropy), None)


def test_the_size_of_a_pass_does_not_matter(make_model: ModelMaker) -> None:
    model = make_model("qwen3")
    played = [
        episode(turn((1,) * length, (2,), ((2, 3, 4),)), context=ContextMode.WINDOW)
        for length in (1, 5, 3, 8)
    ]
    small, large = (
        sharpness.measure(model, played, base=None, micro_batch_tokens=tokens)
        for tokens in (4, 400)
    )
    assert small is not None
    assert large is not None
    assert math.isclose(small.entropy, large.entropy, rel_tol=1e-5)


def test_episodes_without_a_decision_measure_nothing(make_model: ModelMaker) -> None:
    model = make_model("qwen3")
    forced = episode(turn((1,), (2,), ((2,),)))
    assert sharpness.measure(model, [forced], base=None, micro_batch_tokens=64) is None
    assert sharpness.measure(model, [], base=None, micro_batch_tokens=64) is None
