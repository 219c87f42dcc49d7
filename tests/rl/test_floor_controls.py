"""The floor controls: what learns, by which gradient, and that it is a temperature and no more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, OlmoConfig, OlmoForCausalLM, PhiConfig
from transformers import PhiForCausalLM as Phi

from layerbench.errors import UserError
from layerbench.rl.batching import TrainingSequence, collate
from layerbench.rl.floor_controls import LogitScale, check_control, norm_offset, read_scale
from layerbench.rl.layers import movement, select_parameters
from layerbench.rl.lora import count_learned
from layerbench.rl.policy import decision_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Group
from layerbench.rl.update import Learner, accumulate_gradients, reference_logprobs, update, weigh
from tests.rl import test_families
from tests.support import model_families, toy_run
from tests.support.toy_run import make_toy_trainer
from tests.support.train_settings import loss_settings

LAYERS = model_families.NUM_LAYERS
SETTINGS = replace(test_families.SETTINGS, control_learning_rate=3e-2)
NORM = "model.norm.weight"


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def played(model: nn.Module) -> list[TrainingSequence]:
    group = Group(tuple(model_families.play(model, *test_families.CHOSEN)))
    return test_families.sequences_of(group)


def learner_of(model: nn.Module, control: str) -> Learner:
    return make_learner(model, parse_selection(control, LAYERS), SETTINGS, seed=0)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 5, 9, 3]])).logits.float()


def tiny_gpt2(**more: Any) -> nn.Module:  # noqa: ANN401 - settings of several types
    """A model whose norms have a bias."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    config = GPT2Config(vocab_size=50, n_embd=32, n_layer=LAYERS, n_head=2, n_positions=64, **more)
    model: nn.Module = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize("control", ["scale", "norm"])
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_an_update_changes_the_final_norm_and_nothing_else(name: str, control: str) -> None:
    model = model_families.make(name)
    before, sequences = weights(model), played(model)
    learner = learner_of(model, control)
    stats = update(learner, sequences, SETTINGS, rng=np.random.default_rng(0))
    assert stats.steps == 2
    assert set(learner.parameters) == {NORM}
    changed = {n for n, tensor in model.state_dict().items() if not torch.equal(before[n], tensor)}
    assert changed == {NORM}
    moved = movement(model, learner.base)
    assert (moved.per_layer, set(moved.per_matrix)) == ({}, {NORM})
    count = count_learned(learner.base.tensors, parse_selection(control, LAYERS))
    assert count == {"scale": 1, "norm": 32}[control]
    assert sum(p.numel() for p in learner.masters.stepped.values()) == count


@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_the_scale_multiplies_every_logit_as_a_temperature_does(name: str) -> None:
    model = model_families.make(name)
    base, parameters = logits(model), select_parameters(model, parse_selection("scale", LAYERS))
    scale = LogitScale(parameters, offset=norm_offset(model, parameters))
    # Finding the offset leaves the model as it was.
    assert torch.equal(logits(model), base)
    scale.set(2.5)
    torch.testing.assert_close(logits(model), 2.5 * base, rtol=1e-4, atol=1e-4)
    [*sequences] = played(model)
    batch = collate(sequences)
    scaled, _ = decision_scores(model, batch, temperature=1.0)
    scale.set(1.0)
    cooled, _ = decision_scores(model, batch, temperature=1 / 2.5)
    torch.testing.assert_close(scaled, cooled, rtol=0, atol=1e-4)


def test_a_norm_with_a_bias_is_scaled_with_its_bias() -> None:
    model = tiny_gpt2()
    base, selection = logits(model), parse_selection("scale", LAYERS)
    parameters = select_parameters(model, selection)
    assert set(parameters) == {"transformer.ln_f.weight", "transformer.ln_f.bias"}
    LogitScale(parameters, offset=norm_offset(model, parameters)).set(0.5)
    torch.testing.assert_close(logits(model), 0.5 * base, rtol=1e-4, atol=1e-4)
    # The control `norm` is the weights alone.
    norm = select_parameters(model, parse_selection("norm", LAYERS))
    assert set(norm) == {"transformer.ln_f.weight"}


def gradient_and_loss(learner: Learner, sequences: list[TrainingSequence]) -> tuple[Tensor, float]:
    settings = replace(SETTINGS, loss=loss_settings(kl_coef=0.05, entropy_coef=0.02))
    reference = reference_logprobs(learner, sequences, settings)
    stats = accumulate_gradients(learner, weigh(sequences, reference, settings.loss), settings)
    [stepped] = learner.masters.stepped.values()
    assert stepped.grad is not None
    gradient = stepped.grad.clone()
    stepped.grad = None
    return gradient, stats.loss


@pytest.mark.parametrize("name", ["qwen3-tied", "gemma3"])
@pytest.mark.parametrize("micro_batch_tokens", [60, 100_000])
def test_gradient_of_the_scale_is_that_of_finite_differences(
    name: str, micro_batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.rl.test_floor_controls.SETTINGS",
        replace(SETTINGS, micro_batch_tokens=micro_batch_tokens),
    )
    model = model_families.make(name).double()
    sequences, learner = played(model), learner_of(model, "scale")
    scale = learner.masters
    assert isinstance(scale, LogitScale)
    scale.set(1.1)
    gradient, _ = gradient_and_loss(learner, sequences)
    losses: list[float] = []
    # Far apart, since losses are float32 sums: these differ by rounding of 1e-7.
    for value in (1.1 - 2e-2, 1.1 + 2e-2):
        scale.set(value)
        losses.append(gradient_and_loss(learner, sequences)[1])
    assert float(gradient) == pytest.approx((losses[1] - losses[0]) / 4e-2, rel=1e-2)
    assert abs(float(gradient)) > 1e-3


def test_gradient_of_the_norm_is_that_of_finite_differences() -> None:
    model = model_families.make("qwen3").double()
    sequences, learner = played(model), learner_of(model, "norm")
    gradient, _ = gradient_and_loss(learner, sequences)
    [weight] = learner.parameters.values()
    for index in (0, 17):
        losses: list[float] = []
        for step in (-2e-2, 2e-2):
            with torch.no_grad():
                weight[index] += step
            losses.append(gradient_and_loss(learner, sequences)[1])
            with torch.no_grad():
                weight[index] -= step
        assert float(gradient[index]) == pytest.approx((losses[1] - losses[0]) / 4e-2, rel=1e-2)


@pytest.mark.parametrize("control", ["scale", "norm"])
def test_the_weights_of_a_control_do_not_decay(control: str) -> None:
    model = model_families.make("qwen3")
    settings = replace(SETTINGS, weight_decay=0.5)
    learner = make_learner(model, parse_selection(control, LAYERS), settings, seed=0)
    assert [group["weight_decay"] for group in learner.optimizer.param_groups] == [0.0]
    assert [group["lr"] for group in learner.optimizer.param_groups] == [3e-2]
    layer = make_learner(model, parse_selection("1", LAYERS), settings, seed=0)
    assert [group["weight_decay"] for group in layer.optimizer.param_groups] == [0.5]


def test_a_norm_that_was_changed_otherwise_is_no_scale() -> None:
    model = model_families.make("qwen3")
    learner = learner_of(model, "scale")
    assert read_scale(model, learner.base.tensors) == pytest.approx(1.0)
    scale = learner.masters
    assert isinstance(scale, LogitScale)
    scale.set(1.7)
    assert read_scale(model, learner.base.tensors) == pytest.approx(1.7, rel=1e-6)
    with torch.no_grad():
        learner.parameters[NORM][3] *= 1.01
    assert read_scale(model, learner.base.tensors) is None


def test_in_bfloat16_small_steps_add_up() -> None:
    model = model_families.make("gemma3").bfloat16()
    learner = learner_of(model, "scale")
    scale = learner.masters
    assert isinstance(scale, LogitScale)
    for _ in range(100):
        # A hundredth of what rounding a bfloat16 weight would lose.
        scale.set(scale.value + 1e-3)
    assert scale.value == pytest.approx(1.1, rel=1e-4)
    assert read_scale(model, learner.base.tensors) == pytest.approx(1.1, rel=2e-3)
    assert learner.parameters[NORM].dtype == torch.bfloat16


def test_models_without_such_a_norm_are_refused() -> None:
    sizes: dict[str, Any] = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
    }
    # OLMo's norms have no weights, and Phi's head has a bias.
    olmo: nn.Module = OlmoForCausalLM(OlmoConfig(**sizes, pad_token_id=0))
    for control in ("scale", "norm"):
        with pytest.raises(
            UserError, match=f"layers={control} is of the final norm's weights, and"
        ):
            check_control(olmo, parse_selection(control, LAYERS))
    phi: nn.Module = Phi(PhiConfig(**sizes))
    with torch.no_grad():
        phi.lm_head.bias.normal_()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    check_control(phi, parse_selection("norm", LAYERS))
    with pytest.raises(UserError, match="PhiForCausalLM does not have logits in proportion"):
        check_control(phi, parse_selection("scale", LAYERS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("control", ["scale", "norm"])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    tmp_path: Path, control: str, dtype: torch.dtype
) -> None:
    settings = replace(toy_run.SETTINGS, control_learning_rate=3e-2)

    def trained(folder: str, until: int | None = None) -> dict[str, Tensor]:
        trainer, model, _ = make_toy_trainer(
            tmp_path / folder, settings=settings, selection=control, dtype=dtype
        )
        trainer.run(until=until)
        return weights(model)

    whole = trained("whole")
    trained("stopped", until=2)
    resumed = trained("stopped")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    base = weights(toy_run.make_toy_model(dtype))
    assert [n for n, tensor in whole.items() if not torch.equal(base[n], tensor)] == [NORM]


def test_a_scale_is_learned(tmp_path: Path) -> None:
    # The random model is surer of wrong answers than of right ones: a flatter one wins more often.
    settings = replace(toy_run.SETTINGS, iterations=10, control_learning_rate=3e-2)
    trainer, model, _ = make_toy_trainer(tmp_path, settings=settings, selection="scale")
    history = trainer.run()
    scale = read_scale(model, trainer.base.tensors)
    assert scale is not None
    assert 0.3 < scale < 0.9
    assert all(metrics.update.steps for metrics in history)
