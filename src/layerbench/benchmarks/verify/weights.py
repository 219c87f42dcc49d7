"""The weights behind a record, where they are on this machine: hashed and measured again."""

import errno
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from layerbench.agents.pretrained import names
from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config.selected_layers import selection_of
from layerbench.benchmarks.models import lineage, loading
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong
from layerbench.rl.layers import BaseWeights, Movement, movement
from layerbench.rl.lora import changed_parameters, count_learned

# Norms are summed in another order on another processor.
_TOLERANCE = 1e-4


def check_weights(submission: Submission) -> Iterator[Remark]:
    """Hash the base model, and with the checkpoint's layers the trained one; measure the movement.

    Nothing is downloaded, no code of the model is run, and only safetensors are read.
    """
    record = submission.record
    if record.endpoint:
        yield Unchecked("weights: nobody but the endpoint has them")
        return
    try:
        model = _base_model(submission)
    except (ValueError, OSError, SafetensorError) as error:
        yield Unchecked(f"weights: {error}")
        return
    yield from _base(submission, model)
    if not submission.changes:
        if record.selection.weights_sha256 != record.model.weights_sha256:
            yield Wrong("nothing was trained, but selection.weights_sha256 is not the base model's")
        return
    try:
        base = _put_together(submission, model)
    except FileNotFoundError as error:
        yield Unchecked(f"trained weights: there is no {error.filename}")
    except (ValueError, OSError) as error:
        yield Wrong(str(error))
    else:
        yield from _trained(submission, model, base)


def _base_model(submission: Submission) -> nn.Module:
    """Load the model that training began with.

    Raises:
        ValueError: It is not on this machine, or cannot be loaded.
    """
    settings = submission.config.model
    source = lineage.lineage(settings.name, revision=settings.revision)
    if not names.is_known(source.base) and not Path(source.base).is_dir():
        if source.trained:
            raise ValueError(f"the base of {settings.name!r} is not a folder on this machine")
        settings = replace(settings, name=_snapshot(settings.name, settings.revision))
    model, _ = loading.load(
        replace(
            settings,
            dtype=submission.record.model.dtype,
            device="cpu",
            trust_remote_code=False,
        )
    )
    return model


def _snapshot(name: str, revision: str) -> str:
    """Find what was downloaded of a model on the Hub, without asking anybody."""
    try:
        return snapshot_download(name, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ValueError(f"model {name!r} is not on this machine") from error


def _base(submission: Submission, model: nn.Module) -> Iterator[Remark]:
    said, found = submission.record.model, weights_hash(model)
    if said.weights_sha256 != found:
        yield Wrong(
            f"model.weights_sha256 is {said.weights_sha256[:12]}, "
            f"{said.name!r} on this machine has {found[:12]}"
        )
    parameters = sum(weight.numel() for weight in model.parameters())
    if said.parameters != parameters:
        yield Wrong(f"model.parameters is {said.parameters}, {said.name!r} has {parameters}")


def _put_together(submission: Submission, model: nn.Module) -> BaseWeights:
    """Give the base model what was trained; return what was there before.

    Raises:
        FileNotFoundError: The checkpoint is not there.
        ValueError: It does not hold what the selection trains.
    """
    config, num_layers = submission.config, submission.record.selection.num_layers
    assert num_layers is not None, "only an endpoint's model is of unknown size"
    selection = selection_of(config, num_layers=num_layers)
    rank = config.train.lora_rank
    base = BaseWeights(changed_parameters(model, selection, lora_rank=rank))
    name = f"iteration-{submission.record.training.iterations:06d}"
    folders = [submission.folder.path / "checkpoints" / name]
    if config.parts:
        folders = [Path(part.run) / "checkpoints" / part.checkpoint for part in config.parts]
    weights: dict[str, Tensor] = {}
    for folder in folders:
        weights |= _read(folder / "weights.safetensors")
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in base.tensors.items()}:
        raise ValueError("the checkpoint does not hold the parameters that the selection trains")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
    return base


def _read(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        return safetensors.load_file(path)  # pyright: ignore[reportUnknownMemberType]
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _trained(submission: Submission, model: nn.Module, base: BaseWeights) -> Iterator[Remark]:
    said, found = submission.record.selection, weights_hash(model)
    if said.weights_sha256 != found:
        yield Wrong(
            f"selection.weights_sha256 is {said.weights_sha256[:12]}, "
            f"the checkpoint makes {found[:12]}"
        )
    count = count_learned(base.tensors, lora_rank=said.lora_rank or 0)
    if said.parameters != count:
        yield Wrong(f"selection.parameters is {said.parameters}, {said.name!r} has {count}")
    yield from _movement(submission, movement(model, base))


def _movement(submission: Submission, found: Movement) -> Iterator[Remark]:
    said = submission.record.movement
    layers = {str(layer): share for layer, share in found.per_layer.items()}
    for kind, one, other in (
        ("layer", said.per_layer, layers),
        ("matrix", said.per_matrix, found.per_matrix),
    ):
        for name in sorted({*one, *other}):
            a, b = one.get(name, math.nan), other.get(name, math.nan)
            if not math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-12):
                yield Wrong(f"movement of {kind} {name} is {a:.6g}, the checkpoint gives {b:.6g}")
                break
