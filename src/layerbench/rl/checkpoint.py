"""Checkpoints: training states on disk, written whole or not at all, read back exactly.

A checkpoint is a folder of two safetensors files and one JSON file. Of the model it holds the
parameters that learn, and no others.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from layerbench.errors import UserError
from layerbench.hashing import file_sha256
from layerbench.rl.checkpoint_files import (
    OPTIMIZER,
    SCHEMA,
    STATE,
    WEIGHTS,
    checkpoint_name,
    checkpoints,
)

_RNG, _MASTER = "rng.", "master."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training run after an iteration.

    Attributes:
        iteration: Iterations completed.
        position: Tasks drawn from the training list so far.
        history: One row of metrics for each iteration completed.
        identity: Settings, tasks and base model, which must be equal for a run to go on from it.
        weights: The parameters that learn, by name, as the model plays with them.
        masters: Weights that are stepped in the place of those parameters: see ``MasterWeights``.
        optimizer: The optimizer's state: ``<name>.<key>``.
        rng: States of torch's generators, by device.
    """

    iteration: int
    position: int
    history: tuple[Mapping[str, Any], ...]
    identity: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    masters: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    rng: Mapping[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write a checkpoint into its own folder below ``folder``, and delete all but the newest.

    It appears under its name by one rename, once all of it is on the disk: a process that is killed
    before leaves only a folder whose name starts with a dot, which the next call deletes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _delete_leftovers(folder)
    final = folder / checkpoint_name(checkpoint.iteration)
    draft = folder / f".writing-{final.name}"
    draft.mkdir()
    _write_tensors(draft / WEIGHTS, checkpoint.weights)
    _write_tensors(
        draft / OPTIMIZER,
        {
            **checkpoint.optimizer,
            **{_MASTER + name: master for name, master in checkpoint.masters.items()},
            **{_RNG + device: generator for device, generator in checkpoint.rng.items()},
        },
    )
    state = {
        "schema": SCHEMA,
        "iteration": checkpoint.iteration,
        "position": checkpoint.position,
        "identity": checkpoint.identity,
        "sha256": {name: file_sha256(draft / name) for name in (WEIGHTS, OPTIMIZER)},
        "history": list(checkpoint.history),
    }
    (draft / STATE).write_text(json.dumps(state, allow_nan=False) + "\n", encoding="utf-8")
    for path in (*draft.iterdir(), draft):
        _sync(path)
    if final.exists():
        # Renamed before it is deleted: a half deleted folder would still have a valid name.
        final.rename(folder / f".writing-old-{final.name}")
    draft.rename(final)
    # The rename itself is lost in a power failure until the folder is flushed.
    _sync(folder)
    # Older ones go only when the new one is complete.
    for old in checkpoints(folder)[:-keep]:
        old.rename(folder / f".writing-old-{old.name}")
    _delete_leftovers(folder)
    return final


def load_checkpoint(path: Path, *, identity: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint back.

    Args:
        path: The checkpoint's own folder.
        identity: Identity of the run that goes on from it.

    Raises:
        UserError: The checkpoint is damaged, of another version, or of another run.
    """
    state = _read_state(path)
    # By way of JSON, where tuples are lists, as in the file.
    _check_identity(path, state["identity"], json.loads(json.dumps(identity)))
    stored = _read_tensors(path / OPTIMIZER)
    return Checkpoint(
        iteration=state["iteration"],
        position=state["position"],
        history=tuple(state["history"]),
        identity=state["identity"],
        weights=_read_tensors(path / WEIGHTS),
        masters=_under(_MASTER, stored),
        optimizer={n: t for n, t in stored.items() if not n.startswith((_MASTER, _RNG))},
        rng=_under(_RNG, stored),
    )


def load_weights(path: Path, model: nn.Module) -> tuple[str, ...]:
    """Copy the trained parameters of a checkpoint into the base model.

    Args:
        path: The checkpoint's own folder.
        model: The base model, changed in place.

    Returns:
        Names of the parameters that were trained.

    Raises:
        UserError: The checkpoint is damaged, of another version, or was trained from a base model
            with other weights or of another dtype.
    """
    identity = _read_state(path).get("identity", {})
    trained = _read_tensors(path / WEIGHTS)
    parameters = dict(model.named_parameters())
    base = {name: parameters[name] for name in trained if name in parameters}
    for name, parameter in base.items():
        if parameter.dtype != trained[name].dtype:
            raise UserError(
                f"checkpoint {path} holds {_dtype(trained[name])}, but its base model was loaded "
                f"as {_dtype(parameter)}: give model.dtype={_dtype(trained[name])}"
            )
    same_shapes = all(base[name].shape == trained[name].shape for name in base)
    if not same_shapes or hash_tensors(base) != identity.get("base_weights"):
        raise UserError(f"checkpoint {path} was trained from another base model than this one")
    with torch.no_grad():
        for name, parameter in base.items():
            parameter.copy_(trained[name])
    return tuple(base)


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of tensors: their names and bytes, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        # As bytes, since numpy has no bfloat16.
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Copy the optimizer's state of each parameter, as ``<name>.<key>``."""
    return {
        f"{name}.{key}": value.detach().cpu().clone()
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """Restore the state that ``optimizer_tensors`` copied."""
    for name, tensor in tensors.items():
        # From the right: parameters have dots in their names, the optimizer's keys have none.
        owner, key = name.rsplit(".", 1)
        parameter = parameters[owner]
        # AdamW counts its steps on the CPU wherever the parameter lies.
        device = "cpu" if key == "step" else parameter.device
        optimizer.state[parameter][key] = tensor.to(device)


def rng_states() -> dict[str, Tensor]:
    """Copy the states of torch's generators, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_rng(states: Mapping[str, Tensor]) -> None:
    """Set torch's generators to states that ``rng_states`` copied."""
    for device, state in states.items():
        if device == "cpu":
            torch.set_rng_state(state)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(state, device)


def _delete_leftovers(folder: Path) -> None:
    """Delete unfinished and replaced checkpoints."""
    for path in folder.glob(".writing-*"):
        shutil.rmtree(path)


def _read_state(path: Path) -> dict[str, Any]:
    advice = "delete that folder to go on from the one before, or start anew"
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        schema = state["schema"]
        is_whole = all(file_sha256(path / name) == sha for name, sha in state["sha256"].items())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"checkpoint {path} cannot be read ({error}): {advice}") from error
    if schema != SCHEMA:
        raise UserError(
            f"checkpoint {path} has layout version {schema}, this is for {SCHEMA}: start anew"
        )
    if not is_whole:
        raise UserError(f"checkpoint {path} is damaged: {advice}")
    return state


def _check_identity(path: Path, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key in {**expected, **stored}:
        if stored.get(key) != expected.get(key):
            raise UserError(
                f"checkpoint {path} belongs to another run: its {key} is {stored.get(key)}, "
                f"not {expected.get(key)}: start anew or use another folder"
            )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    safetensors.save_file(  # pyright: ignore[reportUnknownMemberType]
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    return safetensors.load_file(path)  # pyright: ignore[reportUnknownMemberType]


def _sync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
