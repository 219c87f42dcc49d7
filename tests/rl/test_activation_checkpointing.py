"""Gradient checkpointing: the same gradients, with less kept for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layerbench.agents.backends.transformers.lean import is_lean
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.rl.activation_checkpointing import checkpointed_blocks
from layerbench.rl.batching import make_sequences
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Advantages, Group
from layerbench.rl.update import update
from tests.support import model_families, toy_run
from tests.support.train_settings import loss_settings

SETTINGS = replace(
    toy_run.SETTINGS, temperature=model_families.TEMPERATURE, loss=loss_settings(kl_coef=0.01)
)


def group_of(model: nn.Module) -> Group:
    return Group(tuple(model_families.play(model, ActionMode.CHOOSE, ContextMode.TRANSCRIPT)))


def learn(model: nn.Module, group: Group, selection: str, *, checkpointed: bool) -> None:
    settings = replace(SETTINGS, gradient_checkpointing=checkpointed)
    learner = make_learner(
        model, parse_selection(selection, model_families.NUM_LAYERS), settings, seed=0
    )
    rng = np.random.default_rng(0)
    drawn = tuple(rng.normal(size=len(t.turns)).astype(np.float32) for t in group.trajectories)
    sequences = make_sequences([group], [Advantages(drawn, drawn, drawn)])
    assert update(learner, sequences, settings, rng=rng).steps == 2


def count_reads(model: nn.Module) -> list[int]:
    """Count from now on how often each block's attention is computed."""
    counts = [0] * model_families.NUM_LAYERS
    for index, block in enumerate(decoder_blocks(model)):

        def count(_: nn.Module, __: tuple[object, ...], index: int = index) -> None:
            counts[index] += 1

        block.get_submodule("self_attn").register_forward_pre_hook(count)
    return counts


@pytest.mark.parametrize("selection", ["0", "1", "2", "0,2", "all-layers", "full"])
@pytest.mark.parametrize("name", ["llama", "qwen2-tied", "qwen3", "gemma3-tied"])
def test_checkpointed_update_is_the_same_bit_for_bit(name: str, selection: str) -> None:
    model, twin = model_families.make(name), model_families.make(name)
    group = group_of(model)
    learn(model, group, selection, checkpointed=False)
    learn(twin, group, selection, checkpointed=True)
    theirs = twin.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.state_dict().items())


def test_blocks_are_computed_again_from_the_first_that_learns() -> None:
    model = model_families.make("qwen3")
    model.requires_grad_(False)
    decoder_blocks(model)[1].requires_grad_(True)
    ids = torch.arange(3, 40)[None]
    counts = count_reads(model)
    with checkpointed_blocks(model, enabled=True):
        loss = model(input_ids=ids, use_cache=False).logits.square().mean()
    loss.backward()
    assert counts == [1, 2, 2]


def test_less_is_kept() -> None:
    model = model_families.make("qwen3")
    ids = torch.arange(3, 40)[None]

    def kept(*, enabled: bool) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with hooks, checkpointed_blocks(model, enabled=enabled):
            model(input_ids=ids, use_cache=False)
        return sum(sizes)

    # Inside the blocks nothing is; one state a token and block goes into them.
    assert kept(enabled=True) + 3 * 37 * 32 < kept(enabled=False) / 3


def test_model_is_as_before_afterwards() -> None:
    model = model_families.make("qwen3")
    with checkpointed_blocks(model, enabled=True):
        assert "forward" in vars(decoder_blocks(model)[0])
    assert all("forward" not in vars(block) for block in decoder_blocks(model))
    assert is_lean(model)


def test_forward_that_a_block_was_given_comes_back() -> None:
    block = decoder_blocks(model_families.make("qwen3"))[0]
    model = model_families.make("qwen3")
    decoder_blocks(model)[0] = block
    given = block.forward
    block.forward = given
    with checkpointed_blocks(model, enabled=True):
        assert block.forward is not given
    assert vars(block)["forward"] is given


def test_run_goes_on_with_or_without_it(tmp_path: Path) -> None:
    first, model, _ = toy_run.make_toy_trainer(tmp_path / "a")
    first.run()
    half = replace(toy_run.SETTINGS, iterations=2)
    toy_run.make_toy_trainer(tmp_path / "b", settings=half)[0].run()
    checkpointed = replace(toy_run.SETTINGS, gradient_checkpointing=True)
    second, twin, _ = toy_run.make_toy_trainer(tmp_path / "b", settings=checkpointed)
    second.run()
    theirs = twin.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.state_dict().items())
