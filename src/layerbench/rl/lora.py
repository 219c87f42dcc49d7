"""Low-rank adapters that learn in the place of the selected layers' matrices.

LoRA (Hu et al., 2021, arXiv:2106.09685): a matrix W of r x c becomes W + s B A, with B of r x rank,
which starts at 0, and A of rank x c; W stays as it is. Needs peft, the extra ``lora``.

The adapters are in a second model, a twin that shares all other tensors with the first. The first
model plays, and has W + s B A as plain weights, so that reading, hashing, saving and exporting it
need to know nothing about adapters.
"""

import copy
import dataclasses
import importlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from layerbench.errors import UserError
from layerbench.rl.layers import BaseWeights, decoder_blocks, select_parameters
from layerbench.rl.master_weights import MasterWeights
from layerbench.rl.types import SCALE, LayerSelection

ALPHA_PER_RANK = 2
"""s above: peft's ``lora_alpha`` over the rank, so that s is the same for every rank."""

_ADAPTER = "default"  # peft's name of an adapter that was given none


def changed_parameters(
    model: nn.Module, selection: LayerSelection, *, lora_rank: int = 0
) -> dict[str, nn.Parameter]:
    """Freeze what training does not change, and return the parameters that it does, by name.

    Without adapters these are the selection. With adapters they are the matrices of the linear
    layers in the selected blocks; the adapters learn in their place, so all of the model is frozen.
    There are no adapters outside of blocks: ``full`` gets those of ``all-layers``.

    Args:
        model: A causal language model.
        selection: Which layers learn.
        lora_rank: Rank of the adapters; 0 for none.

    Raises:
        UserError: As for ``select_parameters``.
    """
    if not lora_rank:
        return select_parameters(model, selection)
    chosen = select_parameters(model, dataclasses.replace(selection, everything=False))
    model.requires_grad_(False)
    modules: dict[str, nn.Module] = dict(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]
    linear = {f"{path}.weight" for path, m in modules.items() if isinstance(m, nn.Linear)}
    return {name: parameter for name, parameter in chosen.items() if name in linear}


def count_learned(
    changed: Mapping[str, Tensor], selection: LayerSelection, *, lora_rank: int = 0
) -> int:
    """Count the learned numbers behind changed parameters: their own, their adapters', or a scale.

    >>> changed = {"weight": torch.zeros(20, 30)}
    >>> layer, scale = (LayerSelection(name, (), 1) for name in ("0", "scale"))
    >>> count_learned(changed, layer), count_learned(changed, layer, lora_rank=4)
    (600, 200)
    >>> count_learned(changed, scale)
    1
    """
    if selection.name == SCALE:
        return 1
    if not lora_rank:
        return sum(tensor.numel() for tensor in changed.values())
    return sum(lora_rank * sum(tensor.shape) for tensor in changed.values())


def check_adapters(model: nn.Module, selection: LayerSelection, *, rank: int) -> None:
    """Make sure that the model can have adapters; a rank of 0, or no layers, needs none.

    Raises:
        UserError: peft is not installed, some of the layers' matrices are of no linear layer, or
            adapters would have more parameters than a matrix that they replace.
    """
    if not rank or not selection.layers:
        return
    _peft()
    changed = changed_parameters(model, selection, lora_rank=rank)
    _check_all_adapted(model, selection, changed)
    for name, parameter in changed.items():
        rows, columns = parameter.shape
        # An adapter has rank * (rows + columns) numbers.
        max_rank = rows * columns // (rows + columns)
        if rank > max_rank:
            raise UserError(
                f"lora_rank is {rank}, but above {max_rank} an adapter of {name}, which is {rows} "
                f"x {columns}, has more parameters than that itself"
            )


def share_adapted(
    model: nn.Module, selection: LayerSelection, changed: Mapping[str, Tensor]
) -> float:
    """Compute the share of the selected blocks' weights that are in the changed matrices."""
    blocks = decoder_blocks(model)
    weights = sum(p.numel() for layer in selection.layers for p in blocks[layer].parameters())
    return sum(tensor.numel() for tensor in changed.values()) / weights


def _check_all_adapted(
    model: nn.Module, selection: LayerSelection, changed: Mapping[str, Tensor]
) -> None:
    """Refuse blocks with matrices outside of linear layers, which would not learn.

    Such are the experts of a mixture in transformers, one tensor for all of them, and its router.
    """
    chosen = select_parameters(model, dataclasses.replace(selection, everything=False))
    model.requires_grad_(False)
    modules: dict[str, nn.Module] = dict(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]
    owners = {name: modules[name.rpartition(".")[0]] for name in chosen}
    others = {
        name: parameter
        for name, parameter in chosen.items()
        # A kernel has more than one dimension as well, but is no matrix.
        if parameter.dim() > 1 and not isinstance(owners[name], nn.Conv1d | nn.Embedding)
        if name not in changed
    }
    if not others:
        return
    missed = sum(tensor.numel() for tensor in others.values())
    share = missed / (missed + sum(tensor.numel() for tensor in changed.values()))
    name = max(others, key=lambda name: others[name].numel())
    kind = type(owners[name]).__name__
    raise UserError(
        f"train.lora_rank puts adapters on linear layers, but {share:.0%} of the weights of "
        f"layers {selection.name} that could have some are elsewhere ({name}, {kind}), and would "
        "not learn: leave it out, which trains whole layers"
    )


class AdapterWeights(MasterWeights):
    """Adapters as master weights: stepped in the place of the matrices that they change.

    They are float32 whatever the model's dtype, and kept in checkpoints, as masters are.

    Args:
        adapters: A and B of every matrix, by their own names.
        parameters: The matrices of the model that plays, by name.
        layers: peft's layer in the twin, by the matrix's name.
    """

    def __init__(
        self,
        adapters: Mapping[str, nn.Parameter],
        parameters: Mapping[str, nn.Parameter],
        layers: Mapping[str, Any],
    ) -> None:
        super().__init__(adapters)
        # float32 adapters get no masters from the base class: as masters they enter checkpoints.
        self._masters = dict(adapters)
        self._parameters = parameters
        self._layers = layers

    def copy_to_model(self) -> None:
        """Give the model that plays W + s B A, computed in float32 and rounded to nearest."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                layer = self._layers[name]
                change: Tensor = layer.get_delta_weight(_ADAPTER)
                parameter.copy_(layer.base_layer.weight + change)


class AdaptedBase(BaseWeights):
    """The changed matrices before training; the twin without its adapters is the base model.

    Args:
        parameters: The matrices of the model that plays, by name.
        layers: peft's layer in the twin, by the matrix's name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], layers: Mapping[str, Any]) -> None:
        super().__init__(parameters)
        self._layers = layers

    @contextmanager
    def active_in(self, model: nn.Module) -> Generator[None]:
        """Turn the twin's adapters off for as long as the context lasts."""
        try:
            for layer in self._layers.values():
                layer.enable_adapters(enabled=False)
            yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(enabled=True)


def adapt(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], *, rank: int, seed: int
) -> tuple[nn.Module, AdaptedBase, AdapterWeights]:
    """Make the twin that learns: the same modules and weights, with adapters that start at 0.

    Args:
        model: The model that plays; ``AdapterWeights.copy_to_model`` updates it.
        parameters: Its matrices to adapt: see ``changed_parameters``.
        rank: Rank of the adapters, above 0.
        seed: Seed of A, which is uniform in +-1/sqrt(c), as peft has it (Kaiming).

    Returns:
        The twin, the base weights, and the adapters to step.

    Raises:
        UserError: peft is not installed.
    """
    peft = _peft()
    learning = _twin(model, parameters)
    paths = [_path(name) for name in parameters]
    config = peft.LoraConfig(r=rank, lora_alpha=ALPHA_PER_RANK * rank, target_modules=paths)
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        # From its own seed and on the CPU, so that neither devices nor earlier draws matter.
        torch.default_generator.manual_seed(seed)
        peft.inject_adapter_in_model(config, learning)
    adapters = {name: p for name, p in learning.named_parameters() if p.requires_grad}
    assert len(adapters) == 2 * len(paths), "peft has put adapters elsewhere, too"
    # peft makes them in the model's dtype, in which small steps would be rounded away.
    for adapter in adapters.values():
        adapter.data = adapter.data.float()
    layers = {name: learning.get_submodule(_path(name)) for name in parameters}
    return learning, AdaptedBase(parameters, layers), AdapterWeights(adapters, parameters, layers)


def _twin(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> nn.Module:
    """Copy the modules but not their tensors, except these parameters."""
    # deepcopy leaves what its memo holds as it is: the twin shares these tensors.
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    for name, parameter in parameters.items():
        # A copy, since the first model's own matrix will hold W + s B A.
        base_weight = nn.Parameter(parameter.detach().clone(), requires_grad=False)
        twin.get_submodule(_path(name)).weight = base_weight
    return twin


def _path(name: str) -> str:
    return name.removesuffix(".weight")


def _peft() -> Any:  # noqa: ANN401 - an extra has no types here
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        raise UserError(
            f"train.lora_rank needs {error.name}: pip install 'layerbench[lora]'"
        ) from error
