"""Checkpoints: training states on disk, written whole or not at all, read back exactly.

A checkpoint is a folder of tensors and JSON with a manifest of their hashes. Of the model it holds
the parameters that learn, and no others. No state of a generator of random numbers is in it: all
that is random follows from the seed and the iteration (``rl.schedule``).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from layerbench import files
from layerbench.errors import UserError
from layerbench.rl import checkpoint_files
from layerbench.rl.checkpoint_files import (
    KEPT,
    OPTIMIZER,
    STATE,
    TIMINGS,
    WEIGHTS,
    check_whole,
    checkpoint_name,
    damage,
)

_MASTER = "master."
_TIMES = ("play_s", "update_s")
"""Metrics of an iteration that differ between equal runs."""


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
    """

    iteration: int
    position: int
    history: tuple[Mapping[str, Any], ...]
    identity: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    masters: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, kept: int = KEPT) -> Path:
    """Write a checkpoint into its own folder below ``folder``, and delete all but the newest.

    It appears under its name by one rename, once all of it is on the disk: a process that is killed
    before leaves only a folder whose name starts with a dot, which the next call deletes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint_files.tidy(folder, kept=kept)
    final = folder / checkpoint_name(checkpoint.iteration)
    draft = folder / f".writing-{final.name}"
    draft.mkdir()
    _write_tensors(draft / WEIGHTS, checkpoint.weights)
    masters = {_MASTER + name: master for name, master in checkpoint.masters.items()}
    _write_tensors(draft / OPTIMIZER, {**checkpoint.optimizer, **masters})
    history = checkpoint.history
    state = {
        "iteration": checkpoint.iteration,
        "position": checkpoint.position,
        "identity": checkpoint.identity,
        "history": [{k: v for k, v in row.items() if k not in _TIMES} for row in history],
    }
    _write_json(draft / STATE, state)
    _write_json(draft / TIMINGS, [{k: row[k] for k in _TIMES if k in row} for row in history])
    checkpoint_files.write_manifest(draft, iteration=checkpoint.iteration)
    if final.exists():
        # Renamed before it is deleted: a half deleted folder would still have a valid name.
        final.rename(folder / f".writing-old-{final.name}")
    draft.rename(final)
    # The rename itself is lost in a power failure until the folder is flushed.
    files.sync(folder)
    # Older ones go only when the new one is complete.
    checkpoint_files.tidy(folder, kept=kept)
    return final


def load_checkpoint(path: Path, *, identity: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint back.

    Args:
        path: The checkpoint's own folder.
        identity: Identity of the run that goes on from it.

    Raises:
        UserError: The checkpoint is damaged, of another version, or of another run.
    """
    state, timings = _read_state(path)
    # By way of JSON, where tuples are lists, as in the file.
    _check_identity(path, state["identity"], json.loads(json.dumps(identity)))
    stored = _read_tensors(path, OPTIMIZER)
    rows = zip(state["history"], timings, strict=True)
    return Checkpoint(
        iteration=state["iteration"],
        position=state["position"],
        history=tuple({**row, **times} for row, times in rows),
        identity=state["identity"],
        weights=_read_tensors(path, WEIGHTS),
        masters={n.removeprefix(_MASTER): t for n, t in stored.items() if n.startswith(_MASTER)},
        optimizer={n: t for n, t in stored.items() if not n.startswith(_MASTER)},
    )


def read_identity(path: Path) -> dict[str, Any]:
    """Read what a checkpoint was trained by, flat: ``seed``, ``loss.clip_low``, ``algorithm.name``.

    Raises:
        UserError: The checkpoint is damaged.
    """
    return dict(_flat(_read_state(path)[0]["identity"]))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the trained parameters of a checkpoint, by name.

    Raises:
        UserError: The checkpoint is damaged.
    """
    check_whole(path)
    return _read_tensors(path, WEIGHTS)


def check_tensors(
    path: Path, stored: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, what: str
) -> None:
    """Make sure that a checkpoint has the tensors that this run has, in their shapes and dtypes.

    Raises:
        UserError: A name, shape or dtype differs.
    """
    for name in {**expected, **stored}:
        forms = [_form(tensors.get(name)) for tensors in (stored, expected)]
        # ``copy_`` would broadcast another shape, and convert another dtype, without a word.
        if forms[0] != forms[1]:
            raise damage(path, f"its {what} of {name} is {forms[0]}, not {forms[1]}")


def load_weights(path: Path, model: nn.Module) -> dict[str, Tensor]:
    """Copy the trained parameters of a checkpoint into the base model.

    Args:
        path: The checkpoint's own folder.
        model: The base model, changed in place.

    Returns:
        The weights that were replaced, by name, on the CPU.

    Raises:
        UserError: The checkpoint is damaged, of another version, or was trained from a base model
            with other weights or of another dtype.
    """
    state, _ = _read_state(path)
    identity, trained = state["identity"], _read_tensors(path, WEIGHTS)
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
    return replace_weights(base, trained)


def replace_weights(
    parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Give parameters other values, and return those that they had, on the CPU."""
    before = {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
    return before


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


def _read_state(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read state and timings, and check that they agree with each other and the folder's name.

    Raises:
        UserError: They do not, or the checkpoint is not whole.
    """
    iteration = check_whole(path)
    state, timings = _read_json(path / STATE), _read_json(path / TIMINGS)
    match state:
        case {"iteration": int(stored), "position": int(position), "history": [*rows]} if (
            isinstance(state.get("identity"), dict) and _are_rows(rows)
        ):
            numbers = [row.get("iteration") for row in rows]
            if stored != iteration or numbers != list(range(iteration)):
                raise damage(path, f"{STATE} is not that of {iteration} iterations")
            # Every group that was played took a task of the list.
            played = sum(row.get("groups", 0) for row in rows)
            if position != played:
                raise damage(path, f"{STATE} has position {position} after {played} groups")
        case _:
            raise damage(path, f"{STATE} does not have the form of one")
    if not _are_rows(timings) or len(timings) != iteration:
        raise damage(path, f"{TIMINGS} is not that of {iteration} iterations")
    return state, timings


def _are_rows(value: Any) -> TypeGuard[list[dict[str, Any]]]:  # noqa: ANN401 - JSON
    return isinstance(value, list) and all(
        isinstance(row, dict) for row in cast(list[object], value)
    )


def _check_identity(path: Path, stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    ours, theirs = dict(_flat(expected)), dict(_flat(stored))
    for key in {**ours, **theirs}:
        if theirs.get(key) != ours.get(key):
            raise UserError(
                f"checkpoint {path} belongs to another run: its {key} is {theirs.get(key)}, "
                f"not {ours.get(key)}: start anew or use another folder"
            )


def _flat(settings: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(cast(Mapping[str, Any], value), f"{section}{key}.")
        else:
            yield section + key, value


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _form(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{_dtype(tensor)} {tuple(tensor.shape)}"


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    safetensors.save_file(  # pyright: ignore[reportUnknownMemberType]
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, allow_nan=False) + "\n", encoding="utf-8")


def _read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """Read a file of tensors that ``check_whole`` has found to be as it was written."""
    try:
        return safetensors.load_file(path / name)  # pyright: ignore[reportUnknownMemberType]
    # Written so by another program.
    except (SafetensorError, OSError) as error:
        raise damage(path, f"{name} cannot be read ({error})") from error


def _read_json(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise damage(path.parent, f"{path.name} cannot be read ({error})") from error
