"""Passes that begin above the frozen blocks, with the states that these have handed up before."""

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM

from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.backends.transformers.cached import CachedStepper
from layerbench.agents.types import ActionMode, ContextMode, Trajectory
from layerbench.rl import sharpness
from layerbench.rl.batcher import Batcher
from layerbench.rl.batching import PlayedStates, TrainingSequence, make_sequences, to_tensor
from layerbench.rl.frozen_prefix import FrozenPrefix, find_prefix
from layerbench.rl.layers import BaseWeights, decoder_blocks
from layerbench.rl.lora import changed_parameters
from layerbench.rl.policy import decision_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import TrainSettings
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Advantages, Group
from layerbench.rl.update import Learner, update
from tests.rl import test_families
from tests.support import model_families, tiny_models
from tests.support.toy_run import SETTINGS as TOY
from tests.support.toy_run import make_toy_trainer

REUSED = replace(test_families.SETTINGS, reuse_mb=100)
PLAIN = replace(REUSED, reuse_mb=0)
SELECTIONS = ["1", "2", "1,2", "norm", "scale"]
TOLERANCE = 1e-5


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def prefix_of(model: nn.Module, selection: str = "2") -> FrozenPrefix:
    chosen = parse_selection(selection, model_families.NUM_LAYERS)
    prefix = find_prefix(model, chosen, changed=changed_parameters(model, chosen).values())
    assert prefix is not None
    return prefix


def group_of(
    model: nn.Module, played: tuple[ActionMode, ContextMode] = test_families.CHOSEN
) -> Group:
    return Group(tuple(model_families.play(model, *played)))


def gradients(
    model: nn.Module,
    sequences: Sequence[TrainingSequence],
    prefix: FrozenPrefix | None,
    *,
    packs: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Score the decisions, and give each parameter's gradient of a loss over all of them."""
    batch = Batcher(prefix, packs=packs).collate(sequences, device=torch.device("cpu"))
    assert batch.is_packed == packs
    assert (batch.states_BSH is None) == (prefix is None)
    model.zero_grad(set_to_none=True)
    logprobs_D, entropy_D = decision_scores(model, batch, temperature=2.0, prefix=prefix)
    loss = logprobs_D.square().sum() + entropy_D.sum()
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return logprobs_D.detach(), found


@pytest.mark.parametrize("played", model_families.MODES, ids="-".join)
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_scores_and_gradients_are_those_of_whole_passes(
    name: str, played: tuple[ActionMode, ContextMode]
) -> None:
    model = model_families.make(name)
    prefix = prefix_of(model, "1,2")
    # Of several lengths, so that some are padded.
    sequences = test_families.sequences_of(group_of(model, played))
    plain, plain_gradients = gradients(model, sequences, None)
    reused, reused_gradients = gradients(model, sequences, prefix)
    torch.testing.assert_close(reused, plain, rtol=0, atol=TOLERANCE)
    assert reused_gradients.keys() == plain_gradients.keys()
    for parameter, gradient in plain_gradients.items():
        torch.testing.assert_close(reused_gradients[parameter], gradient, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_an_update_ends_in_the_same_weights(selection: str, rank: int) -> None:
    if rank and selection in ("norm", "scale"):
        pytest.skip("a control has no adapters")
    ends: list[dict[str, Tensor]] = []
    for settings in (PLAIN, REUSED):
        # Two epochs, a reference and a correction: each sequence is read five times.
        settings = replace(
            settings,
            epochs=2,
            lora_rank=rank,
            lora_learning_rate=1e-2,
            loss=replace(settings.loss, importance_cap=2.0),
        )
        model = model_families.make("qwen3")
        sequences = test_families.sequences_of(group_of(model))
        learner = learner_of(model, selection, settings)
        assert (learner.prefix is None) == (settings.reuse_mb == 0)
        update(learner, sequences, settings, rng=np.random.default_rng(0))
        ends.append(weights(model))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=0, atol=TOLERANCE)


def watched(model: nn.Module) -> list[int]:
    """List, from now on, the lengths of the batches that the lowest block reads."""
    lengths: list[int] = []

    def note(_module: nn.Module, _arguments: object, output: Tensor) -> None:
        lengths.append(output.shape[1])

    decoder_blocks(model)[0].get_submodule("mlp").register_forward_hook(note)
    return lengths


def learner_of(model: nn.Module, selection: str, settings: TrainSettings) -> Learner:
    chosen = parse_selection(selection, model_families.NUM_LAYERS)
    return make_learner(model, chosen, settings, seed=0)


@pytest.mark.parametrize(("epochs", "megabytes"), [(1, 100), (2, 100), (2, 1e-9)])
def test_frozen_blocks_are_run_once_a_sequence_as_far_as_memory_allows(
    epochs: int, megabytes: float
) -> None:
    model = model_families.make("llama")
    sequences = test_families.sequences_of(group_of(model))
    settings = replace(REUSED, epochs=epochs)
    learner = learner_of(model, "2", settings)
    # Less than can be typed.
    object.__setattr__(settings, "reuse_mb", megabytes)
    passes = watched(model)
    update(learner, sequences, settings, rng=np.random.default_rng(0))
    # The reference reads all in one batch; an epoch has two optimizer steps, of one batch each.
    assert len(passes) == (1 if megabytes >= 1 else 1 + 2 * epochs)


def test_play_hands_its_states_to_the_update() -> None:
    model = model_families.make("qwen3")
    prefix = prefix_of(model)
    played = play_keeping(model, prefix.depth)
    for trajectory in played:
        assert trajectory.states_SH is not None
        read = [t for turn in trajectory.turns for t in tokens_of(turn)][
            : len(trajectory.states_SH)
        ]
        plain = prefix.states(torch.tensor([read]))[0]
        torch.testing.assert_close(to_tensor(trajectory.states_SH), plain, rtol=0, atol=TOLERANCE)
    drawn = tuple(np.ones(len(t.turns), np.float32) for t in played)
    sequences = make_sequences(
        [Group(tuple(played))], [Advantages(drawn, drawn, drawn)], stamp=prefix.stamp
    )
    passes = watched(model)
    batch = Batcher(prefix).collate(sequences, device=torch.device("cpu"))
    reused, _ = decision_scores(model, batch, temperature=2.0, prefix=prefix)
    assert not passes
    torch.testing.assert_close(reused, batch.old_logprobs_D, rtol=0, atol=TOLERANCE)


def play_keeping(model: nn.Module, depth: int, **more: Any) -> list[Trajectory]:  # noqa: ANN401
    backend = TransformersBackend(model, end_ids=[tiny_models.END], **more)
    return model_families.play(model, *test_families.CHOSEN, backend=backend, keep_states=depth)


def tokens_of(turn: Any) -> list[int]:  # noqa: ANN401
    return [*turn.response.prompt_ids, *turn.response.token_ids]


def test_play_keeps_none_where_it_cannot_or_was_not_asked_to() -> None:
    model = model_families.make("qwen3")
    assert all(t.states_SH is None for t in play_keeping(model, 0))
    assert all(t.states_SH is None for t in play_keeping(model, 2, stepper=CachedStepper(model)))
    backend = TransformersBackend(model, end_ids=[tiny_models.END])
    modes = (ActionMode.CHOOSE, ContextMode.WINDOW)
    windows = model_families.play(model, *modes, backend=backend, keep_states=2)
    assert all(t.states_SH is None for t in windows)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"])
def test_states_of_frozen_weights_that_have_changed_are_never_used(name: str) -> None:
    model = model_families.make("qwen3")
    prefix = prefix_of(model)
    states = Batcher(prefix, keeps=True)
    sequences = test_families.sequences_of(group_of(model))
    wrong = [np.zeros((len(s.token_ids_T), 16), np.float32) for s in sequences]
    played = [
        replace(s, played_states=PlayedStates(to_tensor(w), prefix.stamp))
        for s, w in zip(sequences, wrong, strict=True)
    ]
    device = torch.device("cpu")
    kept = states.collate(sequences, device=device).states_BSH
    assert kept is not None
    with torch.no_grad():
        dict(model.named_parameters())[name].mul_(1.5)
    for given in (sequences, played):
        batch = states.collate(given, device=device)
        assert batch.states_BSH is not None
        assert not torch.allclose(batch.states_BSH, kept)
        reused, _ = decision_scores(model, batch, temperature=2.0, prefix=prefix)
        plain, _ = decision_scores(
            model, dataclasses.replace(batch, states_BSH=None), temperature=2.0
        )
        torch.testing.assert_close(reused, plain, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("selection", ["0", "0,2", "full", "all-layers"])
def test_nothing_is_reused_where_the_lowest_block_learns(selection: str) -> None:
    model = model_families.make("llama")
    assert learner_of(model, selection, REUSED).prefix is None


class Noisy(nn.Module):
    """A block that answers the same input otherwise each time."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        states = self.block(*arguments, **options)
        return states + torch.randn_like(states)


def test_blocks_whose_answer_cannot_be_kept_are_run_in_every_pass() -> None:
    model = model_families.make("llama")
    blocks = decoder_blocks(model)
    blocks[0] = Noisy(blocks[0])
    selection = parse_selection("2", model_families.NUM_LAYERS)
    assert find_prefix(model, selection, changed=()) is None
    # Blocks of this kind give a tuple, of which states are a part.
    sizes = GPTNeoConfig(
        vocab_size=40, hidden_size=16, num_layers=3, num_heads=2, attention_types=[[["global"], 3]]
    )
    assert find_prefix(GPTNeoForCausalLM(sizes).eval(), parse_selection("2", 3), changed=()) is None


def test_models_of_other_kinds_reuse_too() -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=3, n_head=2)).eval()
    selection = parse_selection("2", 3)
    chosen = changed_parameters(model, selection)
    prefix = find_prefix(model, selection, changed=chosen.values())
    assert prefix is not None
    assert prefix.depth == 2


def test_sharpness_is_the_same_by_reuse() -> None:
    model = model_families.make("qwen3")
    played = model_families.play(model, *test_families.CHOSEN)
    learner = learner_of(model, "2", REUSED)
    base = BaseWeights(learner.parameters)
    with torch.no_grad():
        for parameter in learner.parameters.values():
            parameter.mul_(1.1)
    plain, reused = (
        sharpness.measure(model, played, base=base, micro_batch_tokens=200, prefix=prefix)
        for prefix in (None, learner.prefix)
    )
    assert plain is not None
    assert reused is not None
    assert reused.entropy == pytest.approx(plain.entropy, abs=TOLERANCE)
    assert reused.kl == pytest.approx(plain.kl, abs=TOLERANCE)


def test_a_whole_training_is_the_same_by_reuse(tmp_path: Path) -> None:
    ends: list[dict[str, Tensor]] = []
    for megabytes in (0, 100):
        settings = replace(TOY, reuse_mb=megabytes, epochs=2)
        trainer, model, _ = make_toy_trainer(tmp_path / str(megabytes), settings=settings)
        trainer.run()
        ends.append(weights(model))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=0, atol=1e-4)


def test_memory_bounds_what_play_keeps(tmp_path: Path) -> None:
    settings = replace(TOY, reuse_mb=1)
    trainer, _, _ = make_toy_trainer(tmp_path, settings=settings)
    # 16 numbers of 4 bytes a token.
    assert trainer.depth_to_keep(100, tokens=156) == 1
    assert trainer.depth_to_keep(100, tokens=157) == 0
