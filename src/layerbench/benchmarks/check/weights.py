"""The weights behind a record, where they are on this machine: hashed and measured again."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from layerbench.agents import embedded
from layerbench.agents.backends.transformers import load_model, weights_hash
from layerbench.benchmarks.check.submission import Remark, Submission, Unchecked, Wrong
from layerbench.rl.layers import BaseWeights, Movement, movement, parse_selection, select_parameters

# Norms are summed in another order on another processor.
_TOLERANCE = 1e-4


def check_weights(submission: Submission) -> Iterator[Remark]:
    """Hash the base model, and with the checkpoint's layers the trained one; measure the movement.

    Nothing is downloaded, no code of the model is run, and only safetensors are read.
    """
    record = submission.record
    name = _local(submission)
    if name is None:
        yield Unchecked(f"weights: model {record.model.name!r} is not on this machine")
        return
    try:
        model, _ = load_model(name, dtype=record.model.dtype, device="cpu")
    except (ValueError, OSError, SafetensorError) as error:
        yield Unchecked(f"weights: model {record.model.name!r} cannot be loaded: {error}")
        return
    yield from _base(submission, model)
    if submission.trains:
        yield from _trained(submission, model)
    elif record.selection.weights_sha256 != record.model.weights_sha256:
        yield Wrong("nothing was trained, but selection.weights_sha256 is not the base model's")


def _local(submission: Submission) -> str | None:
    """Find the base model without asking anybody."""
    name, revision = submission.config.model.name, submission.config.model.revision
    if name in embedded.FOLDERS or Path(name).is_dir():
        return name
    try:
        return snapshot_download(name, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        return None


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


def _trained(submission: Submission, model: nn.Module) -> Iterator[Remark]:
    selection = submission.record.selection
    try:
        chosen = parse_selection(submission.config.layers, selection.num_layers)
        learned = select_parameters(model, chosen)
    except ValueError as error:
        yield Wrong(f"selection: {error}")
        return
    count = sum(weight.numel() for weight in learned.values())
    if count != selection.parameters:
        yield Wrong(f"selection.parameters is {selection.parameters}, {chosen.name!r} has {count}")
    name = f"iteration-{submission.record.training.iterations:06d}"
    path = submission.folder.path / "checkpoints" / name / "weights.safetensors"
    if not path.exists():
        yield Unchecked(f"trained weights: there is no {name} among the checkpoints")
        return
    try:
        weights = safetensors.load_file(path)  # pyright: ignore[reportUnknownMemberType]
    except (SafetensorError, OSError) as error:
        yield Wrong(f"{path} cannot be read: {error}")
        return
    yield from _checkpoint(submission, model, learned, weights)


def _checkpoint(
    submission: Submission,
    model: nn.Module,
    learned: Mapping[str, nn.Parameter],
    weights: Mapping[str, Tensor],
) -> Iterator[Remark]:
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in learned.items()}:
        yield Wrong("the checkpoint does not hold the parameters that the selection trains")
        return
    base = BaseWeights(learned)
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(weights[name])
    said, found = submission.record.selection.weights_sha256, weights_hash(model)
    if said != found:
        yield Wrong(f"selection.weights_sha256 is {said[:12]}, the checkpoint makes {found[:12]}")
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
