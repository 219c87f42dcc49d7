"""The selected layers of a model: their parameters, base weights and movement."""

from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerbench.errors import UserError
from layerbench.rl.types import NORM, LayerSelection

BLOCK_PATHS = (
    "model.layers",
    "model.language_model.layers",
    "model.decoder.layers",
    "transformer.h",
    "gpt_neox.layers",
)
"""Paths of the decoder blocks in transformers' causal language models."""


_FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")
"""Names of the norm behind the last block, beside the list of blocks."""


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """Find the model's decoder blocks, nearest the embedding first.

    Raises:
        UserError: None of ``BLOCK_PATHS`` leads to a list of modules.
    """
    return _find_blocks(model)[1]


def select_parameters(model: nn.Module, selection: LayerSelection) -> dict[str, nn.Parameter]:
    """Freeze all of the model but the selection, and return the selected parameters, by name.

    Only ``full`` and the floor controls select more than decoder blocks: else embeddings, final
    norm and head are frozen, tied or not. A tied matrix appears once, under its first name. Of the
    controls, ``norm`` selects the final norm's weights, ``scale`` all of that norm: see
    ``floor_controls``.

    Raises:
        UserError: The model has another number of blocks than the selection was made for, or a
            selected block shares a parameter with a frozen module; or it has no final norm, whose
            weights are selected.
    """
    path, blocks = _find_blocks(model)
    if len(blocks) != selection.num_layers:
        raise UserError(
            f"the selection {selection.name} was made for {selection.num_layers} layers, "
            f"but this model has {len(blocks)}"
        )
    # A shared parameter has several names, of which named_parameters gives only the first.
    named = list(model.named_parameters(remove_duplicate=False))
    control = _final_norm(model, path, selection) if selection.is_control else ()
    # Names by the parameter's id, since tied names are the same tensor.
    frozen, chosen = dict[int, str](), dict[int, str]()
    for name, parameter in named:
        learns = (
            selection.everything or name in control or _layer_of(name, path) in selection.layers
        )
        (chosen if learns else frozen)[id(parameter)] = name
    for shared in chosen.keys() & frozen.keys():
        raise UserError(
            f"the selection {selection.name} has {chosen[shared]}, which is the same parameter as "
            f"{frozen[shared]}, outside of it: select both or neither"
        )
    for _, parameter in named:
        parameter.requires_grad_(id(parameter) in chosen)
    return {name: p for name, p in model.named_parameters() if id(p) in chosen}


def parameter_groups(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], scales: Mapping[int, float]
) -> list[dict[str, Any]]:
    """Sort parameters into an optimizer's groups, one for each multiplier of the learning rate.

    Without multipliers there is one group. Each has its ``params``, in the order given, and its
    ``scale``.

    Args:
        model: The model of these parameters.
        parameters: The parameters that learn, by name.
        scales: Multipliers by decoder block; 1 for every other, and for all outside the blocks.
    """
    path, _ = _find_blocks(model)
    # AdamW multiplies its decay by the rate as well: a multiplier of 0 keeps a layer as it is.
    groups: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in parameters.items():
        layer = _layer_of(name, path)
        groups[1.0 if layer is None else scales.get(layer, 1.0)].append(parameter)
    return [{"params": chosen, "scale": scale} for scale, chosen in groups.items()]


class BaseWeights:
    """A copy, on the CPU, of the selected parameters before training.

    All others are frozen, so the copy is enough to restore the base model: as the KL reference,
    without a second model, and to measure movement.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        # Cloned, since ``cpu()`` copies nothing on the CPU: training would change the base.
        self._tensors: dict[str, Tensor] = {
            name: parameter.detach().cpu().clone() for name, parameter in parameters.items()
        }
        self._is_active = False

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The weights by parameter name; not to be changed."""
        assert not self._is_active, "the base weights are in the model now"
        return self._tensors

    def put_back(self, model: nn.Module) -> None:
        """Give the model its base weights; the trained ones are lost."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                parameters[name].copy_(tensor)

    @contextmanager
    def active_in(self, model: nn.Module) -> Generator[None]:
        """Give the model its base weights for as long as the context lasts.

        The trained weights come back bit for bit, also after an error. Values are exchanged in
        place, so all that share the parameters see them; gradients and optimizer state stay.
        """
        assert not self._is_active, "the base weights are in the model already"
        parameters = dict(model.named_parameters())
        exchanged: list[str] = []
        self._is_active = True
        # Only what was exchanged is exchanged back: an error may come halfway.
        try:
            for name, tensor in self._tensors.items():
                _exchange(parameters[name], tensor)
                exchanged.append(name)
            yield
        finally:
            for name in exchanged:
                _exchange(parameters[name], self._tensors[name])
            self._is_active = False


@dataclass(frozen=True, slots=True)
class Movement:
    """How far training moved the weights: Frobenius norm of the change, over that of the base.

    Attributes:
        per_layer: Movement of each decoder block that learned, over all its parameters together.
        per_matrix: Movement by name of the parameters that learned, without those of base 0.
    """

    per_layer: dict[int, float]
    per_matrix: dict[str, float]


def movement(model: nn.Module, base: BaseWeights) -> Movement:
    """Measure how far each selected layer and matrix has moved from its base weights.

    Measured on the weights that the model plays with, not on their float32 masters, so that it can
    be computed again from a checkpoint's weights alone.
    """
    path, _ = _find_blocks(model)
    parameters = dict(model.named_parameters())
    # Squared norms by layer.
    moved: dict[int, float] = defaultdict(float)
    size: dict[int, float] = defaultdict(float)
    per_matrix: dict[str, float] = {}
    for name, before in base.tensors.items():
        change = _norm(parameters[name].detach().cpu().double() - before.double())
        norm = _norm(before.double())
        if norm > 0.0:
            per_matrix[name] = change / norm
        layer = _layer_of(name, path)
        if layer is not None:
            moved[layer] += change**2
            size[layer] += norm**2
    per_layer = {layer: (moved[layer] / size[layer]) ** 0.5 for layer in moved if size[layer]}
    return Movement(per_layer=per_layer, per_matrix=per_matrix)


def _find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    modules: dict[str, nn.Module] = dict(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]
    for path in BLOCK_PATHS:
        blocks = modules.get(path)
        if isinstance(blocks, nn.ModuleList):
            return path, blocks
    lists = [path for path, module in modules.items() if isinstance(module, nn.ModuleList)]
    raise UserError(
        f"no decoder blocks found in {type(model).__name__}: looked for {', '.join(BLOCK_PATHS)}, "
        f"but its lists of modules are {', '.join(lists) or 'none'}"
    )


def _final_norm(model: nn.Module, path: str, selection: LayerSelection) -> tuple[str, ...]:
    """Name the parameters of the final norm that a control selects."""
    parent = path.rpartition(".")[0]
    prefixes = tuple(f"{parent}.{name}." for name in _FINAL_NORMS)
    # Its weights alone are the control `norm`: a bias is the same for every input.
    found = [
        name
        for name, _ in model.named_parameters(remove_duplicate=False)
        if name.startswith(prefixes) and (selection.name != NORM or name.endswith(".weight"))
    ]
    if not found:
        raise UserError(
            f"layers={selection.name} is of the final norm's weights, and none were found in "
            f"{type(model).__name__}: looked for {', '.join(prefix[:-1] for prefix in prefixes)}"
        )
    return tuple(found)


def _layer_of(name: str, path: str) -> int | None:
    if not name.startswith(f"{path}."):
        return None
    return int(name.removeprefix(f"{path}.").split(".", 1)[0])


def _norm(tensor: Tensor) -> float:
    return float(tensor.square().sum().sqrt())


@torch.no_grad()
def _exchange(parameter: nn.Parameter, tensor: Tensor) -> None:
    trained = parameter.detach().cpu().clone()
    parameter.copy_(tensor)
    tensor.copy_(trained)
