from typing import Any

import pytest
import torch
from torch import nn

from layerbench.rl.master_weights import MasterWeights


def make_weights(dtype: torch.dtype) -> dict[str, nn.Parameter]:
    """Weights of the size that real models have, the same values in each dtype."""
    generator = torch.Generator().manual_seed(0)
    values = 0.02 * torch.randn(64, 32, generator=generator)
    return {"weight": nn.Parameter(values.bfloat16().to(dtype))}


def train(parameters: dict[str, nn.Parameter], *, rate: float, steps: int) -> None:
    """Step along the same gradient again and again."""
    masters = MasterWeights(parameters)
    optimizer: Any = torch.optim.AdamW(masters.stepped.values(), lr=rate, weight_decay=0.01)
    gradient = torch.randn(64, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    for _ in range(steps):
        optimizer.zero_grad()
        parameters["weight"].grad = gradient.to(parameters["weight"].dtype)
        masters.accumulate_gradients_fp32()
        optimizer.step()
        masters.copy_to_model()


@pytest.mark.parametrize("rate", [1e-6, 5e-6])
def test_many_small_steps_come_to_those_of_full_precision_rounded(rate: float) -> None:
    coarse, fine = make_weights(torch.bfloat16), make_weights(torch.float32)
    before = coarse["weight"].detach().clone()
    for parameters in (coarse, fine):
        train(parameters, rate=rate, steps=150)
    assert torch.equal(coarse["weight"], fine["weight"].bfloat16())
    # 150 steps of 1e-6 are 1.5e-4, and half the distance between weights near 0.02 is 6e-5.
    assert (coarse["weight"] != before).float().mean() > 0.9


def test_full_precision_has_no_masters() -> None:
    for dtype in (torch.float32, torch.float64):
        parameters = make_weights(dtype)
        masters = MasterWeights(parameters)
        assert masters.tensors == {}
        assert masters.stepped["weight"] is parameters["weight"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_only_what_is_coarse_has_a_master(dtype: torch.dtype) -> None:
    parameters = {
        "first": nn.Parameter(torch.ones(3, dtype=dtype)),
        "second": nn.Parameter(torch.ones(3)),
        "third": nn.Parameter(torch.ones(3, dtype=dtype)),
    }
    masters = MasterWeights(parameters)
    assert list(masters.stepped) == list(parameters)
    assert list(masters.tensors) == ["first", "third"]
    assert {master.dtype for master in masters.stepped.values()} == {torch.float32}


def test_gradients_add_up_in_float32() -> None:
    parameters = make_weights(torch.bfloat16)
    masters = MasterWeights(parameters)
    # In bfloat16 1 + 1/512 is 1, however often it is added.
    for size in (1.0, *[1 / 512] * 256):
        parameters["weight"].grad = torch.full((64, 32), size, dtype=torch.bfloat16)
        masters.accumulate_gradients_fp32()
        masters.accumulate_gradients_fp32()
    assert parameters["weight"].grad is None
    gradient = masters.stepped["weight"].grad
    assert gradient is not None
    assert torch.equal(gradient, torch.full((64, 32), 1.5))


def test_a_parameter_without_gradient_gives_its_master_none() -> None:
    masters = MasterWeights(make_weights(torch.bfloat16))
    masters.accumulate_gradients_fp32()
    assert masters.stepped["weight"].grad is None
