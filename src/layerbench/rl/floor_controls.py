"""The control ``scale``: one number that multiplies all logits, as an inverse temperature does.

What it gains needs no skill, which one number cannot hold. It has no place of its own in the model:
the final norm's output, and with it every logit of a head without a bias, is proportional to that
norm's weights, so the number is multiplied into them. So whatever plays, hashes, saves or exports
the model, vLLM included, needs to know nothing about it. In float32 that is exact but for rounding;
in bfloat16 each weight keeps 8 significant bits, as it does in every other selection.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layerbench.errors import UserError
from layerbench.rl.layers import BaseWeights, select_parameters
from layerbench.rl.master_weights import MasterWeights
from layerbench.rl.types import SCALE, LayerSelection

_OFFSETS = (0.0, 1.0)
"""What norms add to their weights before they multiply by them; Gemma's add 1."""

_TOLERANCE = 0.02
"""Relative error of logits that should have doubled: bfloat16 rounds by up to 0.004."""


def check_control(model: nn.Module, selection: LayerSelection) -> None:
    """Make sure that a floor control can be trained in this model; any other selection can.

    Raises:
        UserError: The model has no final norm with weights, or its logits do not follow them.
    """
    if selection.is_control:
        parameters = select_parameters(model, selection)
        if selection.name == SCALE:
            norm_offset(model, parameters)


def norm_offset(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> float:
    """Find what the final norm adds to its weights, by doubling them: 0 or 1.

    Args:
        model: A causal language model; unchanged afterwards.
        parameters: The parameters of its final norm, by name.

    Raises:
        UserError: Neither doubles the logits, for example because the head has a bias.
    """
    base = BaseWeights(parameters)
    logits = _logits(model)
    errors: dict[float, float] = {}
    for offset in _OFFSETS:
        scale = LogitScale(parameters, offset=offset)
        scale.set(2.0)
        errors[offset] = float(_size(_logits(model) / 2 - logits) / _size(logits))
        base.put_back(model)
    best = min(errors, key=errors.__getitem__)
    # Not `errors[best] > _TOLERANCE`, which would let NaN pass.
    if not errors[best] <= _TOLERANCE:
        raise UserError(
            f"layers={SCALE} multiplies the logits by way of the final norm's weights, but "
            f"{type(model).__name__} does not have logits in proportion to them: take layers=norm"
        )
    return best


class LogitScale(MasterWeights):
    """One number as the master weight of a whole norm: it is stepped in the place of its weights.

    It is float32 whatever the model's dtype, begins at 1, and is kept in checkpoints, as masters
    are.

    Args:
        parameters: The parameters of the final norm, by name.
        offset: What the norm adds to its weights: see ``norm_offset``.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, offset: float) -> None:
        super().__init__({})
        self._parameters = parameters
        # A bias is added to the product with the weights, and multiplied by the scale as it is.
        self._offsets = {n: offset if n.endswith("weight") else 0.0 for n in parameters}
        self._unscaled = {n: p.detach().float() + self._offsets[n] for n, p in parameters.items()}
        first = next(iter(parameters.values()))
        self._scale = nn.Parameter(torch.ones(1, device=first.device))
        self._masters = {SCALE: self._scale}
        self._stepped = dict(self._masters)

    @property
    def value(self) -> float:
        """What the logits are multiplied by."""
        return float(self._scale.detach())

    def set(self, value: float) -> None:
        """Multiply the logits of the base model by a number."""
        with torch.no_grad():
            self._scale.fill_(value)
        self.copy_to_model()

    def accumulate_gradients_fp32(self) -> None:
        """Add the parameters' gradients to that of the scale, by the chain rule, and clear them."""
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            # Of w = scale * unscaled - offset.
            gradient = (parameter.grad.float() * self._unscaled[name]).sum()[None]
            self._scale.grad = gradient + (0.0 if self._scale.grad is None else self._scale.grad)
            # Else the next backward pass would add to it, and this micro-batch would count twice.
            parameter.grad = None

    def copy_to_model(self) -> None:
        """Give the norm its weights times the scale, computed in float32 and rounded to nearest."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._scale * self._unscaled[name] - self._offsets[name])


def read_scale(model: nn.Module, base: Mapping[str, Tensor]) -> float | None:
    """Find the number by which a trained norm differs from its base; None if there is no such one.

    Args:
        model: The model, with the trained weights; unchanged afterwards.
        base: The final norm's parameters before training, by name, on the CPU.
    """
    named = dict(model.named_parameters())
    parameters = {name: named[name] for name in base}
    offset = norm_offset(model, parameters)
    trained = {n: p.detach().cpu().double() for n, p in parameters.items()}
    with_offset = [
        (before.double() + extra, trained[name] + extra)
        for name, before in base.items()
        for extra in [offset if name.endswith("weight") else 0.0]
    ]
    products = sum(float((before * after).sum()) for before, after in with_offset)
    scale = products / sum(float((before * before).sum()) for before, _ in with_offset)
    precision = torch.finfo(next(iter(parameters.values())).dtype).eps
    for before, after in with_offset:
        # Rounded once, after the offset was taken off again.
        if not torch.allclose(after, scale * before, rtol=2 * precision, atol=4 * precision):
            return None
    return scale


def _size(tensor: Tensor) -> Tensor:
    return tensor.square().sum().sqrt()


def _logits(model: nn.Module) -> Float[Tensor, "T V"]:
    token_ids_BT = torch.tensor([[0, 1]], device=next(model.parameters()).device)
    with torch.no_grad():
        return model(input_ids=token_ids_BT, use_cache=False).logits[0].float()
