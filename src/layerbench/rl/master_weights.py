"""float32 master weights of parameters at a lower precision, so that small steps add up."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_FULL_BYTES = 4  # a weight of float32


class MasterWeights:
    """The weights that the optimizer steps in the place of parameters coarser than float32.

    A bfloat16 weight has 8 significant bits: a step of less than 1/512 of it is lost. So each
    coarse parameter has a float32 master, which is stepped, and whose rounded value the
    parameter is; the model plays, and is measured, with the parameters. Those of float32 or finer
    have no master and are stepped themselves. A master and its gradient take 8 bytes a weight on
    the parameter's device, beside the optimizer's state.
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
        """The weight to step, by parameter name: the master, or the parameter without one."""
        return self._stepped

    def accumulate_gradients_fp32(self) -> None:
        """Add the parameters' gradients to those of the masters, in float32, and clear them."""
        for name, parameter in self._coarse.items():
            gradient, master = parameter.grad, self._masters[name]
            if gradient is None:
                continue
            if master.grad is None:
                master.grad = gradient.float()
            else:
                master.grad += gradient
            # Else the next backward pass would add to it, and this micro-batch would count twice.
            parameter.grad = None

    def copy_to_model(self) -> None:
        """Give the parameters their masters' values, rounded to nearest."""
        with torch.no_grad():
            for name, parameter in self._coarse.items():
                # In place, which torch counts: vLLM's weight sync finds changes by that counter.
                parameter.copy_(self._masters[name])

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the masters to what ``tensors`` was; the parameters stay as they are."""
        with torch.no_grad():
            for name, master in self._masters.items():
                master.copy_(tensors[name])
