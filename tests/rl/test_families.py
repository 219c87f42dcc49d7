"""What each family's layers learn from episodes it played, and what stays as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from layerbench.agents.types import ActionMode, ContextMode
from layerbench.rl.batching import TrainingSequence, collate, make_sequences
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.policy import check_head, decision_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Advantages, Group
from layerbench.rl.update import update
from tests.support import model_families, tiny_models
from tests.support.train_settings import loss_settings, train_settings

SETTINGS = train_settings(
    iterations=1,
    tasks_per_iteration=1,
    group_size=6,
    learning_rate=1e-2,
    layer_learning_rate=1e-2,
    minibatches=2,
    temperature=model_families.TEMPERATURE,
    loss=loss_settings(kl_coef=0.01, entropy_coef=0.01),
)
CHOSEN = (ActionMode.CHOOSE, ContextMode.TRANSCRIPT)


def sequences_of(group: Group) -> list[TrainingSequence]:
    """Lay out a group for training, as if its turns had done better and worse at random."""
    rng = np.random.default_rng(0)
    drawn = tuple(rng.normal(size=len(t.turns)).astype(np.float32) for t in group.trajectories)
    return make_sequences([group], [Advantages(drawn, drawn, drawn)])


def plain_decisions(model: nn.Module, group: Group) -> list[float]:
    """List the log-probabilities of all tokens that were not forced, by plain forwards."""
    return [
        logprob
        for trajectory in group.trajectories
        for logprob, forced in zip(
            model_families.plain_logprobs(model, trajectory),
            [
                len(allowed) == 1
                for turn in trajectory.turns
                for allowed in turn.response.allowed_ids or ((),) * len(turn.response.token_ids)
            ],
            strict=True,
        )
        if not forced
    ]


@pytest.mark.parametrize("played", model_families.MODES, ids="-".join)
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_training_scores_what_was_sampled_as_plain_forwards_do(
    name: str, played: tuple[ActionMode, ContextMode]
) -> None:
    model = model_families.make(name)
    check_head(model)
    group = Group(tuple(model_families.play(model, *played)))
    batch = collate(sequences_of(group))
    logprobs_D, _ = decision_scores(model, batch, temperature=model_families.TEMPERATURE)
    plain = torch.tensor(plain_decisions(model, group))
    torch.testing.assert_close(logprobs_D.detach(), plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(batch.old_logprobs_D, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("selection", ["0", "1", "0,2", "all-layers", "full"])
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_update_leaves_all_but_the_selection_as_it_was(name: str, selection: str) -> None:
    model = model_families.make(name)
    group = Group(tuple(model_families.play(model, *CHOSEN)))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    chosen = parse_selection(selection, model_families.NUM_LAYERS)
    learner = make_learner(model, chosen, SETTINGS, seed=0)
    rng = np.random.default_rng(0)
    stats = update(learner, sequences_of(group), SETTINGS, rng=rng)
    assert stats.steps == 2
    inside = tuple(f"model.layers.{layer}." for layer in chosen.layers)
    for key, tensor in model.state_dict().items():
        learned = chosen.everything or key.startswith(inside)
        assert torch.equal(before[key], tensor) != learned, key
    held = {id(parameter) for parameter in learner.optimizer.state}
    assert held == {id(parameter) for parameter in learner.parameters.values()}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_what_is_sampled_after_an_update_follows_the_new_weights(name: str) -> None:
    model = model_families.make(name)
    group = Group(tuple(model_families.play(model, *CHOSEN)))
    selection = parse_selection("1", model_families.NUM_LAYERS)
    learner = make_learner(model, selection, SETTINGS, seed=0)
    update(learner, sequences_of(group), SETTINGS, rng=np.random.default_rng(0))
    again = model_families.play(model, *CHOSEN)
    for trajectory in again:
        plain = model_families.plain_logprobs(model, trajectory)
        assert model_families.sampled_logprobs(trajectory) == pytest.approx(plain, abs=1e-5)
    assert again != list(group.trajectories)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("llama", {"self_attn.q_proj.weight", "mlp.up_proj.weight", "input_layernorm.weight"}),
        ("qwen2", {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}),
        ("qwen3", {"self_attn.q_norm.weight", "self_attn.k_norm.weight"}),
        ("gemma3", {"self_attn.q_norm.weight", "post_feedforward_layernorm.weight"}),
    ],
)
def test_a_layer_is_all_that_its_family_puts_there(name: str, parts: set[str]) -> None:
    model = model_families.make(name)
    selection = parse_selection("1", model_families.NUM_LAYERS)
    learner = make_learner(model, selection, SETTINGS, seed=0)
    names = {key.removeprefix("model.layers.1.") for key in learner.parameters}
    assert names == {key for key, _ in decoder_blocks(model)[1].named_parameters()}
    assert parts <= names


def test_capped_logits_are_refused_where_they_are_trained() -> None:
    capped = tiny_models.model("gemma3", final_logit_softcapping=2.0)
    with pytest.raises(ValueError, match="Gemma3ForCausalLM does more to its logits"):
        check_head(capped)


def test_capped_logits_are_refused_also_where_the_cap_is_far_off() -> None:
    capped = tiny_models.model("gemma3", final_logit_softcapping=1000.0)
    with pytest.raises(ValueError, match="Gemma3ForCausalLM does more to its logits"):
        check_head(capped)
