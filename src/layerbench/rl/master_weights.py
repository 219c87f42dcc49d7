"""float32 copies of what learns at a lower precision, so that small steps are not rounded away."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_FULL_BYTES = 4  # a weight of float32


class MasterWeights:
    """What the optimizer steps in the place of parameters coarser than float32.

    A bfloat16 weight has 8 significant bits: a step of less than 1/512 of it is lost. So each
    coarse parameter has a float32 master, which is stepped, and of which the parameter is the
    rounded value; the model plays, and is measured, with the parameters. Those of float32 or finer
    have no copy and are stepped themselves. A master and its gradient take 8 bytes a weight on the
    parameter's device, beside the optimizer's state.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._coarse = {n: p for n, p in parameters.items() if p.dtype.itemsize < _FULL_BYTES}
        self._masters = {n: nn.Parameter(p.detach().float()) for n, p in self._coarse.items()}
        self._stepped = {**parameters, **self._masters}

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The masters by their parameters' names; empty at full precision."""
        return self._masters

    @property
    def stepped(self) -> Mapping[str, nn.Parameter]:
        """What to step, by parameter name: the master, or the parameter if it needs none."""
        return self._stepped

    def take_gradients(self) -> None:
        """Move the parameters' gradients to the masters, on top of what these have, in float32."""
        for name, parameter in self._coarse.items():
            gradient, master = parameter.grad, self._masters[name]
            if gradient is None:
                continue
            if master.grad is None:
                master.grad = gradient.float()
            else:
                master.grad += gradient
            parameter.grad = None

    def round_off(self) -> None:
        """Give the parameters their masters' values, rounded to nearest."""
        with torch.no_grad():
            for name, parameter in self._coarse.items():
                parameter.copy_(self._masters[name])

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Give the masters back what ``tensors`` was; the parameters stay as they are."""
        with torch.no_grad():
            for name, master in self._masters.items():
                master.copy_(tensors[name])
