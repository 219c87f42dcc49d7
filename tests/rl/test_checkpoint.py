import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import layerbench.rl.checkpoint
from layerbench.rl.checkpoint import (
    Checkpoint,
    hash_tensors,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    restore_rng,
    rng_states,
    save_checkpoint,
)
from layerbench.rl.checkpoint_files import latest_checkpoint

IDENTITY = {"seed": 0, "loss": {"kl_coef": 0.0}, "betas": (0.9, 0.99)}


def checkpoint(iteration: int) -> Checkpoint:
    return Checkpoint(
        iteration=iteration,
        position=4 * iteration,
        history=tuple({"iteration": i, "success": 0.1 + i} for i in range(iteration)),
        identity=IDENTITY,
        weights={"layer.weight": torch.full((2, 3), float(iteration))},
        masters={"layer.weight": torch.full((2, 3), iteration + 0.5)},
        optimizer={"layer.weight.step": torch.tensor(float(iteration))},
        rng=rng_states(),
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = checkpoint(3)
    path = save_checkpoint(tmp_path, saved)
    loaded = load_checkpoint(path, identity=IDENTITY)
    assert (loaded.iteration, loaded.position, loaded.history) == (3, 12, saved.history)
    for field in ("weights", "masters", "optimizer", "rng"):
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
    path = save_checkpoint(tmp_path, replace(checkpoint(1), position=99))
    assert names(tmp_path) == ["iteration-000001"]
    assert load_checkpoint(path, identity=IDENTITY).position == 99


@pytest.mark.parametrize("writes", range(1, 5))
def test_death_while_writing_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    reached: list[Path] = []
    sync = layerbench.rl.checkpoint._sync  # pyright: ignore[reportPrivateUsage]

    def die(path: Path) -> None:
        reached.append(path)
        if len(reached) == writes:
            raise KeyboardInterrupt
        sync(path)

    monkeypatch.setattr(layerbench.rl.checkpoint, "_sync", die)
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


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    path = save_checkpoint(tmp_path, checkpoint(1))
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: delete that folder"):
        load_checkpoint(path, identity=IDENTITY)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, checkpoint(1))
    (path / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(path, identity=IDENTITY)


def test_other_layout_version_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, checkpoint(1))
    state: dict[str, Any] = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"schema": 2}))
    with pytest.raises(ValueError, match="has layout version 2, this is for 1"):
        load_checkpoint(path, identity=IDENTITY)


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


def test_restored_generators_draw_the_same_numbers() -> None:
    states = rng_states()
    first = torch.rand(5)
    restore_rng(states)
    assert torch.equal(torch.rand(5), first)


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
