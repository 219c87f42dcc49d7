import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from layerbench import files
from layerbench.errors import UserError
from layerbench.rl.checkpoint import (
    Checkpoint,
    hash_tensors,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    read_weights,
    restore_optimizer,
    save_checkpoint,
)
from layerbench.rl.checkpoint_files import latest_checkpoint, tidy

WRITTEN = (
    "manifest.json",
    "optimizer.safetensors",
    "state.json",
    "timings.json",
    "weights.safetensors",
)
IDENTITY = {"seed": 0, "loss": {"kl_coef": 0.0}, "betas": (0.9, 0.99)}


def checkpoint(iteration: int) -> Checkpoint:
    return Checkpoint(
        iteration=iteration,
        position=4 * iteration,
        history=tuple(
            {"iteration": i, "groups": 4, "success": 0.1 + i, "play_s": 1.5}
            for i in range(iteration)
        ),
        identity=IDENTITY,
        weights={"layer.weight": torch.full((2, 3), float(iteration))},
        masters={"layer.weight": torch.full((2, 3), iteration + 0.5)},
        optimizer={"layer.weight.step": torch.tensor(float(iteration))},
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = checkpoint(3)
    path = save_checkpoint(tmp_path, saved)
    loaded = load_checkpoint(path, identity=IDENTITY)
    assert (loaded.iteration, loaded.position, loaded.history) == (3, 12, saved.history)
    for field in ("weights", "masters", "optimizer"):
        ours: Mapping[str, torch.Tensor] = getattr(loaded, field)
        theirs: Mapping[str, torch.Tensor] = getattr(saved, field)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "none") is None
    for iteration in (8, 9, 10, 1_000_000):
        save_checkpoint(tmp_path, checkpoint(iteration))
    assert names(tmp_path) == ["iteration-000010", "iteration-1000000"]
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.name == "iteration-1000000"


def test_saving_the_same_iteration_again_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    path = save_checkpoint(tmp_path, replace(checkpoint(1), weights={"other": torch.ones(1)}))
    assert names(tmp_path) == ["iteration-000001"]
    assert load_checkpoint(path, identity=IDENTITY).weights.keys() == {"other"}


@pytest.mark.parametrize("writes", range(1, 7))
def test_death_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    reached: list[Path] = []
    sync = files.sync

    def die(path: Path) -> None:
        reached.append(path)
        if len(reached) == writes:
            raise KeyboardInterrupt
        sync(path)

    monkeypatch.setattr(files, "sync", die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, checkpoint(2))
    monkeypatch.undo()
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    assert load_checkpoint(newest, identity=IDENTITY).iteration == 1
    save_checkpoint(tmp_path, checkpoint(2))
    assert names(tmp_path) == ["iteration-000001", "iteration-000002"]


def test_other_run_is_refused_by_the_setting_that_differs(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, checkpoint(1))
    with pytest.raises(ValueError, match="belongs to another run: its seed is 0, not 1"):
        load_checkpoint(path, identity={**IDENTITY, "seed": 1})
    with pytest.raises(ValueError, match="its more is None, not 5"):
        load_checkpoint(path, identity={**IDENTITY, "more": 5})


def damaged(folder: Path, identity: Mapping[str, Any] = IDENTITY) -> str:
    """Try to load the newest checkpoint, and return the message of the refusal."""
    newest = latest_checkpoint(folder)
    assert newest is not None
    with pytest.raises(UserError) as refusal:
        load_checkpoint(newest, identity=identity)
    message = str(refusal.value)
    assert "\n" not in message
    with pytest.raises(UserError):
        read_weights(newest)
    return message


@pytest.mark.parametrize("name", WRITTEN)
def test_a_changed_byte_is_found_wherever_it_is(tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    path = save_checkpoint(tmp_path, checkpoint(2)) / name
    whole = path.read_bytes()
    # In all regions of the file; the lowest bit makes another digit of a digit.
    for place in range(0, len(whole), 1 + len(whole) // 150):
        for bit in (1, 64):
            content = bytearray(whole)
            content[place] ^= bit
            path.write_bytes(content)
            message = damaged(tmp_path)
            assert name in message, place
            assert "delete that folder to go on from iteration-000001, which is whole" in message


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("kind", ["cut", "longer", "empty", "missing", "folder", "pipe", "loop"])
def test_every_kind_of_damage_to_a_file_is_found(tmp_path: Path, name: str, kind: str) -> None:
    path = save_checkpoint(tmp_path, checkpoint(1)) / name
    content = path.read_bytes()
    if kind in ("cut", "longer", "empty"):
        path.write_bytes({"cut": content[:-1], "longer": content + b" ", "empty": b""}[kind])
    else:
        path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(name)
    message = damaged(tmp_path)
    assert name in message
    assert "no checkpoint before it is whole, so train anew" in message


@pytest.mark.parametrize("name", WRITTEN)
def test_swapped_files_of_two_checkpoints_are_found(tmp_path: Path, name: str) -> None:
    older = save_checkpoint(tmp_path, checkpoint(1)) / name
    newer = save_checkpoint(tmp_path, checkpoint(2)) / name
    contents = older.read_bytes(), newer.read_bytes()
    newer.write_bytes(contents[0])
    older.write_bytes(contents[1])
    message = damaged(tmp_path)
    assert name in message
    # Both are damaged now.
    assert "no checkpoint before it is whole" in message


def test_an_extra_file_is_found(tmp_path: Path) -> None:
    (save_checkpoint(tmp_path, checkpoint(1)) / "more.safetensors").write_bytes(b"")
    assert "'more.safetensors' is not of it" in damaged(tmp_path)


def test_a_file_in_the_place_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    (tmp_path / "iteration-000002").write_text("")
    message = damaged(tmp_path)
    assert "iteration-000002 cannot be read (Not a directory)" in message
    assert "go on from iteration-000001" in message


def test_a_file_in_the_place_of_all_checkpoints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(UserError, match=r"checkpoints cannot be read \(Not a directory\)"):
        latest_checkpoint(tmp_path / "checkpoints")


def test_a_renamed_checkpoint_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1)).rename(tmp_path / "iteration-000002")
    assert "manifest.json is that of iteration 1" in damaged(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"history": ()}, "is not that of 2 iterations"),
        ({"history": checkpoint(2).history[::-1]}, "is not that of 2 iterations"),
        ({"history": checkpoint(3).history}, "is not that of 2 iterations"),
        ({"position": 9}, "state.json has position 9 after 8 groups"),
    ],
)
def test_what_is_whole_but_contradicts_itself_is_found(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    save_checkpoint(tmp_path, replace(checkpoint(2), **change))
    newest = latest_checkpoint(tmp_path)
    assert newest is not None
    with pytest.raises(UserError, match=reason):
        load_checkpoint(newest, identity=IDENTITY)


def test_other_layout_version_is_refused(tmp_path: Path) -> None:
    manifest = save_checkpoint(tmp_path, checkpoint(1)) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 3'))
    assert "manifest.json has layout version 3, not 2" in damaged(tmp_path)


def test_a_manifest_that_nests_or_never_ends_is_refused(tmp_path: Path) -> None:
    manifest = save_checkpoint(tmp_path, checkpoint(1)) / "manifest.json"
    for text in ("[" * 4000, " " * 10**6 + manifest.read_text()):
        manifest.write_text(text)
        assert "manifest.json is no JSON" in damaged(tmp_path)


def test_equal_states_are_equal_bytes_but_for_the_time_they_took(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "first", checkpoint(2))
    torch.rand(7)
    slower = tuple({**row, "play_s": 9.0} for row in checkpoint(2).history)
    second = save_checkpoint(tmp_path / "second", replace(checkpoint(2), history=slower))
    differ = [n for n in WRITTEN if (first / n).read_bytes() != (second / n).read_bytes()]
    assert differ == ["manifest.json", "timings.json"]


def test_one_checkpoint_too_many_is_deleted(tmp_path: Path) -> None:
    for iteration in (1, 2):
        save_checkpoint(tmp_path, checkpoint(iteration))
    # Killed after the third was complete, before the first was deleted.
    shutil.copytree(tmp_path / "iteration-000001", tmp_path / "iteration-000000")
    (tmp_path / ".writing-iteration-000003").mkdir()
    (tmp_path / ".writing-old-iteration-000001").write_text("")
    tidy(tmp_path)
    assert names(tmp_path) == ["iteration-000001", "iteration-000002"]


def test_restored_optimizer_steps_as_the_first_would_have() -> None:
    def make() -> tuple[nn.Linear, torch.optim.Optimizer, dict[str, nn.Parameter]]:
        layer = nn.Linear(3, 2)
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.1), dict(layer.named_parameters())

    def step(layer: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        layer(torch.arange(3.0)).square().sum().backward()
        optimizer.step()

    first, first_optimizer, first_parameters = make()
    for _ in range(3):
        step(first, first_optimizer)
    second, second_optimizer, second_parameters = make()
    second.load_state_dict(first.state_dict())
    tensors = optimizer_tensors(first_optimizer, first_parameters)
    restore_optimizer(second_optimizer, second_parameters, tensors)
    for _ in range(3):
        step(first, first_optimizer)
        step(second, second_optimizer)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def saved_layer(folder: Path, base: nn.Linear, *, dtype: torch.dtype = torch.float32) -> Path:
    """Save a checkpoint of a run that trained the weight of a layer to all ones."""
    trained = {"weight": torch.ones(2, 3, dtype=dtype)}
    before = {"weight": base.weight.detach().to(dtype)}
    identity = {"base_weights": hash_tensors(before)}
    return save_checkpoint(folder, replace(checkpoint(1), weights=trained, identity=identity))


def test_trained_weights_replace_the_base_and_nothing_else(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    bias = layer.bias.detach().clone()
    load_weights(saved_layer(tmp_path, layer), layer)
    assert torch.equal(layer.weight, torch.ones(2, 3))
    assert torch.equal(layer.bias, bias)


def test_weights_are_not_put_on_another_base(tmp_path: Path) -> None:
    path = saved_layer(tmp_path, nn.Linear(3, 2))
    for other in (nn.Linear(3, 2), nn.Linear(2, 3), nn.Identity()):
        with pytest.raises(ValueError, match="trained from another base model than this one"):
            load_weights(path, other)


def test_weights_of_another_dtype_are_refused(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    path = saved_layer(tmp_path, layer, dtype=torch.bfloat16)
    with pytest.raises(
        ValueError, match=r"holds bfloat16, .* loaded as float32: give model\.dtype"
    ):
        load_weights(path, layer)
