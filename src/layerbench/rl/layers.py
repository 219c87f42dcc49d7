"""Which layers learn: the selection's grammar, its parameters, their base weights and movement."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from layerbench.rl.types import LayerSelection


def parse_selection(text: str, num_layers: int) -> LayerSelection:
    """Read which layers of a model learn."""
    raise NotImplementedError


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """Find the model's decoder blocks, nearest the embedding first."""
    raise NotImplementedError


def select_parameters(model: nn.Module, selection: LayerSelection) -> dict[str, nn.Parameter]:
    """Freeze all of the model but the selection, and return what still learns, by name."""
    raise NotImplementedError


class BaseWeights:
    """A copy, on the CPU, of what the selected parameters were before training."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.tensors: dict[str, Tensor] = {}
        raise NotImplementedError

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Generator[None]:
        """Give the model its base weights for as long as the context lasts."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Movement:
    """How far training moved the weights: ‖ΔW‖_F / ‖W‖_F, W before training."""

    per_layer: dict[int, float]
    per_matrix: dict[str, float]


def movement(model: nn.Module, base: BaseWeights) -> Movement:
    """Measure how far each selected layer and matrix has moved from its base weights."""
    raise NotImplementedError
