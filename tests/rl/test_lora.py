"""Adapters on the selected layers: what learns, what stays, and what plays."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import peft  # pyright: ignore[reportMissingTypeStubs]
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    OlmoeConfig,
    PretrainedConfig,
    Qwen3MoeConfig,
)

from layerbench.agents.backends.transformers.lean import is_lean
from layerbench.errors import UserError
from layerbench.rl.batching import collate
from layerbench.rl.lora import changed_parameters, check_adapters, count_learned, share_adapted
from layerbench.rl.policy import decision_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Group
from layerbench.rl.update import Learner, reference_logprobs, update
from tests.rl import test_families
from tests.support import model_families, tiny_models, toy_run
from tests.support.toy_run import make_toy_model, make_toy_trainer

RANK = 2
MATRICES = {
    *(f"self_attn.{name}_proj.weight" for name in "qkvo"),
    *(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
}
SETTINGS = replace(test_families.SETTINGS, lora_rank=RANK, lora_learning_rate=5e-2)
TOY = replace(toy_run.SETTINGS, lora_rank=RANK, lora_learning_rate=5e-2)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def learn(model: nn.Module, selection: str = "1") -> tuple[Learner, Group]:
    """Play, and take two steps on what was played."""
    group = Group(tuple(model_families.play(model, *test_families.CHOSEN)))
    learner = make_learner(
        model, parse_selection(selection, model_families.NUM_LAYERS), SETTINGS, seed=0
    )
    sequences = test_families.sequences_of(group)
    update(learner, sequences, SETTINGS, rng=np.random.default_rng(0))
    return learner, group


def adapters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("selection", ["0,2", "full"])
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_matrices_of_the_selected_layers_change_and_nothing_else(name: str, selection: str) -> None:
    model = model_families.make(name)
    before = weights(model)
    learner, _ = learn(model, selection)
    layers = parse_selection(selection, model_families.NUM_LAYERS).layers
    adapted = {f"model.layers.{layer}.{matrix}" for layer in layers for matrix in MATRICES}
    assert set(learner.parameters) == adapted
    for key, tensor in model.state_dict().items():
        assert torch.equal(before[key], tensor) != (key in adapted), key
    # The model that learns has the base weights under all its adapters.
    base = {
        key.replace(".base_layer", ""): tensor
        for key, tensor in learner.model.state_dict().items()
        if "lora_" not in key
    }
    assert base.keys() == before.keys()
    assert all(torch.equal(base[key], before[key]) for key in before)


def test_only_adapters_have_gradients_and_optimizer_state() -> None:
    model = model_families.make("qwen2-tied")
    learner, group = learn(model)
    adapters = {id(p): name for name, p in adapters_of(learner.model).items()}
    assert {adapters.get(id(parameter)) for parameter in learner.optimizer.state} == {
        f"model.layers.1.{matrix.removesuffix('weight')}lora_{side}.default.weight"
        for matrix in MATRICES
        for side in "AB"
    }
    logprobs_D, _ = decision_scores(
        learner.model, collate(test_families.sequences_of(group)), temperature=1.0
    )
    cast(Any, logprobs_D.sum()).backward()
    graded = {id(p) for p in learner.model.parameters() if p.grad is not None}
    assert graded == set(adapters)
    assert all(p.grad is None for p in model.parameters())


def test_training_begins_with_the_base_exactly() -> None:
    model = model_families.make("qwen3")
    before = weights(model)
    learner = make_learner(
        model, parse_selection("full", model_families.NUM_LAYERS), SETTINGS, seed=0
    )
    ids = torch.tensor([[1, 5, 7, 2, 9]])
    assert torch.equal(learner.model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    factors = adapters_of(learner.model)
    assert all(bool(t.any()) == ("lora_A" in name) for name, t in factors.items())


@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_played_and_learned_log_probabilities_are_those_of_plain_forwards(name: str) -> None:
    model = model_families.make(name)
    lean = is_lean(model)
    learner, _ = learn(model)
    assert is_lean(model) == lean
    group = Group(tuple(model_families.play(model, *test_families.CHOSEN)))
    plain = torch.tensor(test_families.plain_decisions(model, group))
    adapted = torch.tensor(test_families.plain_decisions(learner.model, group))
    batch = collate(test_families.sequences_of(group))
    learned_D, _ = decision_scores(learner.model, batch, temperature=model_families.TEMPERATURE)
    for scores_D in (batch.old_logprobs_D, learned_D.detach(), adapted):
        torch.testing.assert_close(scores_D, plain, rtol=0, atol=1e-5)


def test_what_plays_is_what_peft_itself_merges() -> None:
    model = model_families.make("llama")
    learner, _ = learn(model, "0,2")
    config = peft.LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=[name.removesuffix("_proj.weight") + "_proj" for name in MATRICES],
        layers_to_transform=[0, 2],
    )
    other: Any = peft.LoraModel(model_families.make("llama"), config, "default")
    other.load_state_dict({f"model.{name}": t for name, t in learner.model.state_dict().items()})
    merged: nn.Module = other.merge_and_unload()
    for (name, ours), theirs in zip(model.named_parameters(), merged.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_reference_is_the_base_model() -> None:
    model = model_families.make("qwen3")
    base = model_families.make("qwen3")
    learner, group = learn(model)
    sequences = test_families.sequences_of(group)
    now = adapters_of(learner.model)
    reference = np.concatenate(reference_logprobs(learner, sequences, SETTINGS))
    batch = collate(sequences)
    theirs_D, _ = decision_scores(base, batch, temperature=SETTINGS.temperature)
    mine_D, _ = decision_scores(learner.model, batch, temperature=SETTINGS.temperature)
    torch.testing.assert_close(torch.tensor(reference), theirs_D.detach(), rtol=0, atol=1e-6)
    assert not torch.allclose(mine_D, theirs_D, atol=1e-3)
    assert all(p.requires_grad for p in now.values())


def test_coarse_weights_are_the_rounded_sum_and_adapters_are_float32() -> None:
    model = model_families.make("llama").bfloat16()
    before = weights(model)
    learner, _ = learn(model)
    factors = adapters_of(learner.model)
    assert {factor.dtype for factor in factors.values()} == {torch.float32}
    for name, parameter in learner.parameters.items():
        path = name.removesuffix("weight")
        change = factors[f"{path}lora_B.default.weight"] @ factors[f"{path}lora_A.default.weight"]
        whole = before[name].float() + 2 * change
        assert parameter.dtype == torch.bfloat16
        assert torch.equal(parameter, whole.bfloat16()), name


def test_adapters_follow_from_the_seed_alone() -> None:
    def first(seed: int) -> Mapping[str, Tensor]:
        learner = make_learner(
            model_families.make("llama"),
            parse_selection("1", model_families.NUM_LAYERS),
            SETTINGS,
            seed=seed,
        )
        return adapters_of(learner.model)

    one = first(3)
    torch.rand(5)
    again, other = first(3), first(4)
    name = "model.layers.1.mlp.up_proj.lora_A.default.weight"
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one[name], other[name])


def test_adapters_leave_the_generator_of_everything_else_alone() -> None:
    model = model_families.make("llama")
    state = torch.get_rng_state()
    make_learner(model, parse_selection("1", model_families.NUM_LAYERS), SETTINGS, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_stopping_halfway_changes_nothing(tmp_path: Path) -> None:
    through, model, _ = make_toy_trainer(tmp_path / "through", settings=TOY)
    history = through.run()
    make_toy_trainer(tmp_path / "parts", settings=replace(TOY, iterations=2))[0].run()
    torch.rand(3)
    second, resumed, _ = make_toy_trainer(tmp_path / "parts", settings=TOY)
    assert [m.comparable() for m in second.run()] == [m.comparable() for m in history]
    assert any(m.update.kl for m in history)
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in resumed.state_dict().items())


@pytest.mark.parametrize("rank", [0, 3])
def test_another_rank_does_not_resume(tmp_path: Path, rank: int) -> None:
    make_toy_trainer(tmp_path, settings=TOY)[0].run()
    with pytest.raises(ValueError, match="belongs to another run: its "):
        make_toy_trainer(tmp_path, settings=replace(TOY, lora_rank=rank))


def test_recomputing_blocks_changes_no_number(tmp_path: Path) -> None:
    make_toy_trainer(tmp_path / "plain", settings=TOY)[0].run()
    checkpointed = replace(TOY, gradient_checkpointing=True)
    make_toy_trainer(tmp_path / "checkpointed", settings=checkpointed)[0].run()
    for name in ("weights", "optimizer"):
        one, other = (
            (tmp_path / f"{run}/checkpoints/iteration-000004/{name}.safetensors").read_bytes()
            for run in ("plain", "checkpointed")
        )
        assert one == other


def test_a_layer_with_scale_0_keeps_its_weights(tmp_path: Path) -> None:
    before = weights(make_toy_model())
    settings = replace(TOY, lr_scale="0:0")
    trainer, model, _ = make_toy_trainer(tmp_path, selection="0,2", settings=settings)
    trainer.run()
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {f"model.layers.2.{matrix}" for matrix in MATRICES}


def test_learned_numbers_are_those_of_the_adapters() -> None:
    model = model_families.make("qwen3")
    learner, _ = learn(model, "0,2")
    assert count_learned(learner.base.tensors, parse_selection("1", 3), lora_rank=RANK) == sum(
        factor.numel() for factor in adapters_of(learner.model).values()
    )


# Mistakes


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    model = tiny_models.model("llama")
    with pytest.raises(ValueError, match=r"needs peft: pip install 'layerbench\[lora\]'"):
        check_adapters(model, parse_selection("1", 2), rank=1)
    check_adapters(model, parse_selection("1", 2), rank=0)
    check_adapters(model, parse_selection("none", 2), rank=1)


def test_rank_is_limited_by_the_smallest_matrix() -> None:
    model, selection = make_toy_model(), parse_selection("1", 3)
    # k, v, q and o are 16 x 16: an adapter of rank 8 has 8 x 32 parameters, as many.
    check_adapters(model, selection, rank=8)
    with pytest.raises(ValueError, match=r"lora_rank is 9, but above 8 .*q_proj.* 16 x 16"):
        check_adapters(model, selection, rank=9)


SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
HEADS: dict[str, Any] = {"head_dim": 8}
# Attention has 4 matrices of 16 x 16 (1,024 numbers), an expert 3 (768); 4 of them are 3,072, and
# their router 64: 3,136 of 4,160 are 75 %.
MIXTURES: dict[str, PretrainedConfig] = {
    "qwen3": Qwen3MoeConfig(**SIZES, **HEADS, num_experts=4, moe_intermediate_size=16),
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4),
    "olmoe": OlmoeConfig(**SIZES, num_experts=4),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_of_experts_is_refused_with_its_share(name: str) -> None:
    model = cast(nn.Module, cast(Any, AutoModelForCausalLM).from_config(MIXTURES[name]))
    with pytest.raises(UserError, match=r"75% .* layers 1 .* elsewhere \(.*experts\.gate_up_proj"):
        check_adapters(model, parse_selection("1", 2), rank=1)
    check_adapters(model, parse_selection("1", 2), rank=0)


def test_experts_in_other_layers_are_no_hindrance() -> None:
    config = Qwen3MoeConfig(**SIZES, **HEADS, num_experts=4, mlp_only_layers=[0])
    model = cast(nn.Module, cast(Any, AutoModelForCausalLM).from_config(config))
    check_adapters(model, parse_selection("0", 2), rank=1)
    with pytest.raises(UserError, match="layers full"):
        check_adapters(model, parse_selection("full", 2), rank=1)


def test_matrices_outside_of_linear_layers_are_refused() -> None:
    sizes: dict[str, Any] = {"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 16}
    model = cast(nn.Module, GPT2LMHeadModel(GPT2Config(**sizes)))
    selection = parse_selection("1", 2)
    assert changed_parameters(model, selection, lora_rank=1) == {}
    with pytest.raises(UserError, match=r"100% .*\(transformer\.h\.1\.mlp\.c_fc\.weight, Conv1D\)"):
        check_adapters(model, selection, rank=1)


def test_share_adapted_leaves_out_norms() -> None:
    model, selection = make_toy_model(), parse_selection("1", 3)
    changed = changed_parameters(model, selection, lora_rank=1)
    matrices = sum(tensor.numel() for tensor in changed.values())
    norms = sum(p.numel() for n, p in model.named_parameters() if ".layers.1." in n and "norm" in n)
    assert norms > 0
    assert share_adapted(model, selection, changed) == matrices / (matrices + norms)
