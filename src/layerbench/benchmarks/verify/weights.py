"""Hashes and measures the weights behind a record again, if they are on this machine."""

import errno
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from layerbench.agents.pretrained import model_files, names
from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config.identity import TRAINED, differing_parts, name_parts
from layerbench.benchmarks.config.selected_layers import selection_of
from layerbench.benchmarks.models import lineage, loading
from layerbench.benchmarks.models.present import hash_model
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong
from layerbench.rl.checkpoint import read_weights
from layerbench.rl.checkpoint_files import checkpoint_name
from layerbench.rl.floor_controls import read_scale
from layerbench.rl.layers import BaseWeights, Movement, movement
from layerbench.rl.lora import changed_parameters, count_learned
from layerbench.rl.types import SCALE, LayerSelection

# Relative; another processor sums norms in another order.
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
        other = _other_files(submission)
        if other:
            # What lies here says nothing against the model that was scored.
            yield Unchecked(f"model: {other}")
        if any(part in other for part in ("weights", TRAINED)):
            return
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
        base = _apply_checkpoint(submission, model)
    # Before OSError, its base class: a missing checkpoint is unchecked, a damaged one wrong.
    except FileNotFoundError as error:
        yield Unchecked(f"trained weights: there is no {error.filename}")
    except (ValueError, OSError) as error:
        yield Wrong(str(error))
    else:
        yield from _trained(submission, model, base)
        yield from _best(submission, model, base)


def _other_files(submission: Submission) -> str:
    """Say which parts of the model are others on this machine; empty where none is known to be."""
    there = submission.record.model.files_sha256
    here = hash_model(submission.config.model) if there is not None else None
    if there is None or here is None:
        return ""
    # Of a combined model, the record's includes the parts, which are compared once they are loaded.
    compared = [
        part
        for part in differing_parts(there, here)
        if part != TRAINED or not submission.config.parts
    ]
    return "; ".join(
        f"its {name_parts([part])} has the hash {str(there.get(part))[:12]} in the record, "
        f"{str(here.get(part))[:12]} on this machine"
        for part in compared
    )


def _base_model(submission: Submission) -> nn.Module:
    """Load the model that training began with.

    Raises:
        ValueError: The model is not on this machine, or cannot be loaded.
    """
    settings = submission.config.model
    source = lineage.lineage(settings.name, revision=settings.revision)
    if not names.is_known(source.base) and not Path(source.base).is_dir():
        if source.trained:
            raise ValueError(f"the base of {settings.name!r} is not a folder on this machine")
        folder = model_files.folder_of(settings.name, revision=settings.revision)
        if folder is None:
            raise ValueError(f"model {settings.name!r} is not on this machine")
        settings = replace(settings, name=str(folder))
    model, _ = loading.load(
        replace(
            settings,
            # The hash includes the dtype; the device of the settings may not be on this machine.
            dtype=submission.record.model.dtype,
            device="cpu",
            trust_remote_code=False,
        )
    )
    return model


def _base(submission: Submission, model: nn.Module) -> Iterator[Remark]:
    recorded, computed = submission.record.model, weights_hash(model)
    if recorded.weights_sha256 != computed:
        yield Wrong(
            f"model.weights_sha256 is {recorded.weights_sha256[:12]}, "
            f"{recorded.name!r} on this machine has {computed[:12]}"
        )
    count = sum(weight.numel() for weight in model.parameters())
    if recorded.parameters != count:
        yield Wrong(f"model.parameters is {recorded.parameters}, {recorded.name!r} has {count}")


def _apply_checkpoint(submission: Submission, model: nn.Module) -> BaseWeights:
    """Copy the trained weights into the base model, and return those that they replace.

    Raises:
        FileNotFoundError: A checkpoint does not exist.
        ValueError: A checkpoint is damaged, or does not hold the parameters that are trained.
    """
    config = submission.config
    rank = config.train.lora_rank
    base = BaseWeights(changed_parameters(model, _selection(submission), lora_rank=rank))
    name = checkpoint_name(submission.record.training.iterations)
    folders = [submission.folder.path / "checkpoints" / name]
    if config.parts:
        folders = [Path(part.run) / "checkpoints" / part.checkpoint for part in config.parts]
    weights: dict[str, Tensor] = {}
    for folder in folders:
        if not folder.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        weights |= read_weights(folder)
    _replace(model, weights, base)
    return base


def _replace(model: nn.Module, weights: Mapping[str, Tensor], base: BaseWeights) -> None:
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in base.tensors.items()}:
        raise ValueError("the checkpoint does not hold the parameters that the selection trains")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def _selection(submission: Submission) -> LayerSelection:
    num_layers = submission.record.selection.num_layers
    assert num_layers is not None, "only an endpoint's model is of unknown size"
    return selection_of(submission.config, num_layers=num_layers)


def _trained(submission: Submission, model: nn.Module, base: BaseWeights) -> Iterator[Remark]:
    recorded, computed = submission.record.selection, weights_hash(model)
    if recorded.weights_sha256 != computed:
        yield Wrong(
            f"selection.weights_sha256 is {recorded.weights_sha256[:12]}, "
            f"the checkpoint makes {computed[:12]}"
        )
    selection = _selection(submission)
    count = count_learned(base.tensors, selection, lora_rank=recorded.lora_rank or 0)
    if recorded.parameters != count:
        yield Wrong(f"selection.parameters is {recorded.parameters}, {recorded.name!r} has {count}")
    yield from _movement(submission, movement(model, base))
    if selection.name == SCALE and read_scale(model, base.tensors) is None:
        yield Wrong("the checkpoint changes more than the scale of the logits")


def _best(submission: Submission, model: nn.Module, base: BaseWeights) -> Iterator[Remark]:
    """Hash the best checkpoint; the model has its weights afterwards."""
    best = submission.record.best
    if best is None:
        return
    if best.iteration < submission.record.training.iterations:
        path = submission.folder.best / checkpoint_name(best.iteration)
        if not path.exists():
            yield Unchecked(f"best weights: there is no {path}")
            return
        try:
            _replace(model, read_weights(path), base)
        except (ValueError, OSError) as error:
            yield Wrong(str(error))
            return
    if best.weights_sha256 != (computed := weights_hash(model)):
        yield Wrong(
            f"best.weights_sha256 is {best.weights_sha256[:12]}, the checkpoint makes "
            f"{computed[:12]}"
        )


def _movement(submission: Submission, measured: Movement) -> Iterator[Remark]:
    recorded = submission.record.movement
    layers = {str(layer): share for layer, share in measured.per_layer.items()}
    for kind, recorded_shares, measured_shares in (
        ("layer", recorded.per_layer, layers),
        ("matrix", recorded.per_matrix, measured.per_matrix),
    ):
        for name in sorted({*recorded_shares, *measured_shares}):
            # nan is close to nothing: a name that one side lacks is a contradiction.
            a, b = recorded_shares.get(name, math.nan), measured_shares.get(name, math.nan)
            if not math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-12):
                yield Wrong(f"movement of {kind} {name} is {a:.6g}, the checkpoint gives {b:.6g}")
                # One name of a kind is enough: a wrong checkpoint contradicts them all.
                break
