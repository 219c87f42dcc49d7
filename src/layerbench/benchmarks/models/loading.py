"""Loads models by name: the base by transformers, then the parameters that runs have trained."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from layerbench.agents.context import Tokenizer
from layerbench.agents.pretrained import names
from layerbench.agents.pretrained.loading import load_model, load_skeleton, weights_hash
from layerbench.benchmarks.config.schema import ModelConfig, PartConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import delta, lineage
from layerbench.benchmarks.models.delta import Delta
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_names import read_settings, run_of
from layerbench.hashing import file_sha256
from layerbench.rl.checkpoint import load_weights, read_identity, replace_weights
from layerbench.rl.layers import BaseWeights, decoder_blocks, select_parameters
from layerbench.rl.types import LayerSelection


def load(settings: ModelConfig) -> tuple[nn.Module, Tokenizer]:
    """Load a model; of a run or a delta, the base with the trained parameters applied.

    Raises:
        UserError: There is no such model, device or dtype; or the base model is not the one that
            the run began with.
    """
    model, tokenizer = load_base(settings)
    apply_trained(settings, model)
    return model, tokenizer


def load_base(settings: ModelConfig) -> tuple[nn.Module, Tokenizer]:
    """Load the base of a model, without trained parameters.

    Raises:
        UserError: There is no such model, device or dtype.
    """
    source = lineage.lineage(settings.name, revision=settings.revision)
    path = Path(source.base)
    # transformers would report a missing config.json of what may have been meant as a run.
    if not names.is_known(source.base) and path.is_dir() and not (path / "config.json").exists():
        raise SettingsError(
            f"{path} holds no model (config.json) and no run (config.yaml): name another folder"
        )
    return load_model(
        source.base,
        revision=source.revision,
        dtype=settings.dtype,
        device=settings.device,
        trust_remote_code=settings.trust_remote_code,
        attention=settings.attention,
    )


def apply_trained(settings: ModelConfig, model: nn.Module) -> dict[str, Tensor]:
    """Copy trained parameters into a base model, run after run.

    Returns:
        The base's weights that were replaced, by name, on the CPU.

    Raises:
        UserError: The base model is not the one that training began with.
    """
    source = lineage.lineage(settings.name, revision=settings.revision)
    base: dict[str, Tensor] = {}
    for folder in source.trained:
        apply = _apply_delta if delta.is_delta(folder) else _apply_checkpoint
        # What an earlier run replaced is the base's; what a later one did is the earlier run's.
        base = {**apply(folder, model), **base}
    return base


def num_layers(settings: ModelConfig) -> int:
    """Count the decoder blocks of a model without loading its weights.

    Raises:
        UserError: There is no such model, or it has no known stack of decoder blocks.
    """
    source = lineage.lineage(settings.name, revision=settings.revision)
    skeleton = load_skeleton(
        source.base,
        revision=source.revision,
        trust_remote_code=settings.trust_remote_code,
    )
    return len(decoder_blocks(skeleton))


def check_parts(model: nn.Module, parts: Sequence[PartConfig], *, num_layers: int) -> None:
    """Check that each part of a combined model gives the base the weights that its run scored.

    The model is unchanged afterwards.

    Raises:
        UserError: A checkpoint is missing, damaged, or of another base; or it gives the model
            other weights than those that its run scored.
    """
    for part in parts:
        base = _base_weights(model, [part], num_layers=num_layers)
        replaced = load_weights(_checkpoint(part), model)
        sha256 = weights_hash(model)
        base.put_back(model)
        # The names as well: put_back restores the layers of this part alone.
        if sha256 != part.weights_sha256 or replaced.keys() != base.tensors.keys():
            raise SettingsError(
                f"checkpoint {_checkpoint(part)} does not hold the weights that the run in "
                f"{part.run} was scored with: train it anew"
            )


def combine(model: nn.Module, parts: Sequence[PartConfig], *, num_layers: int) -> BaseWeights:
    """Copy the layers of all parts into a base model; ``check_parts`` comes first.

    Returns:
        The weights of those layers from before.
    """
    # The order of the parts is immaterial: ``read_parts`` refuses two that trained the same layer.
    base = _base_weights(model, parts, num_layers=num_layers)
    for part in parts:
        load_weights(_checkpoint(part), model)
    return base


def _base_weights(model: nn.Module, parts: Sequence[PartConfig], *, num_layers: int) -> BaseWeights:
    layers = sorted(layer for part in parts for layer in part.layers)
    selection = LayerSelection(name="combine", layers=tuple(layers), num_layers=num_layers)
    return BaseWeights(select_parameters(model, selection))


def _checkpoint(part: PartConfig) -> Path:
    return Path(part.run) / "checkpoints" / part.checkpoint


def _apply_delta(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """Copy a delta's parameters into its base model, and check the result by its hash."""
    facts = delta.read(folder)
    if weights_hash(model) != facts.base.weights_sha256:
        raise SettingsError(
            f"the delta in {folder} is of another base model than {facts.base.name} as it was "
            f"loaded: give it model.dtype={facts.base.dtype}, or the revision that it was made of"
        )
    tensors = _read_delta(folder, facts)
    parameters = dict(model.named_parameters())
    # copy_ would broadcast another shape and convert another dtype without an error.
    if not all(
        name in parameters
        and (parameters[name].shape, parameters[name].dtype) == (t.shape, t.dtype)
        for name, t in tensors.items()
    ):
        raise SettingsError(f"the delta in {folder} has parameters that its base model has not")
    before = replace_weights({name: parameters[name] for name in tensors}, tensors)
    if weights_hash(model) != facts.weights_sha256:
        raise SettingsError(f"the delta in {folder} does not make the model that it says it makes")
    return before


def _read_delta(folder: Path, facts: Delta) -> dict[str, Tensor]:
    path = folder / delta.WEIGHTS
    try:
        # safetensors checks its header alone: a flipped byte would be read as a weight.
        if file_sha256(path) != facts.file_sha256:
            raise SettingsError(f"the delta in {folder} is damaged: export it anew")
        return safetensors.load_file(path)  # pyright: ignore[reportUnknownMemberType]
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


def _apply_checkpoint(checkpoint: Path, model: nn.Module) -> dict[str, Tensor]:
    """Copy a checkpoint's parameters into the base model that its run began with."""
    run = run_of(str(checkpoint))
    assert run is not None, f"{checkpoint} is no checkpoint of a run"
    # load_weights compares the base of the trained layers alone; the run's state has a hash of all.
    if weights_hash(model) != RunFolder(run).first_state().weights_sha256:
        raise SettingsError(
            f"the run in {run} began with another base model, or one of another dtype, "
            "than was loaded: give it its model.dtype, or train it anew"
        )
    _check_owner(checkpoint, run)
    return load_weights(checkpoint, model)


def _check_owner(checkpoint: Path, run: Path) -> None:
    """Make sure that a checkpoint was trained by the settings of the run in whose folder it is."""
    match read_settings(run):
        case {"seed": seed, "train": {**train}, "algorithm": {**algorithm}}:
            settings = {
                "seed": seed,
                **train,
                **{f"algorithm.{k}": v for k, v in algorithm.items()},
            }
        case _:
            raise SettingsError(f"{run / 'config.yaml'} holds no settings of training")
    # A hash of the list of tasks there, a number here.
    settings.pop("tasks", None)
    # The settings of the loss are flat in a run's.
    trained = {k.removeprefix("loss."): v for k, v in read_identity(checkpoint).items()}
    for name in sorted(settings.keys() & trained.keys()):
        if settings[name] != trained[name]:
            raise SettingsError(
                f"checkpoint {checkpoint} is of another run than {run}: it was trained with {name} "
                f"{trained[name]}, not {settings[name]}"
            )
