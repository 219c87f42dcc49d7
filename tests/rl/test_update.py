from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from layerbench.rl.batching import TrainingSequence, collate
from layerbench.rl.layers import BaseWeights, select_parameters
from layerbench.rl.master_weights import MasterWeights
from layerbench.rl.policy import decision_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import Aggregation, LossSettings, TrainSettings
from layerbench.rl.types import UpdateStats
from layerbench.rl.update import Learner, accumulate_gradients, reference_logprobs, update, weigh
from tests.support.train_settings import loss_settings, train_settings

ModelMaker = Callable[[str], nn.Module]
NO_KL = loss_settings(kl_coef=0.0)
NO_STEP = UpdateStats(decisions=0, steps=0)


def learner_of(model: nn.Module, selection: str = "2", *, rate: float = 1e-2) -> Learner:
    parameters = select_parameters(model, parse_selection(selection, 4))
    masters = MasterWeights(parameters)
    optimizer = torch.optim.AdamW(masters.stepped.values(), lr=rate, weight_decay=0.01)
    return Learner(model, parameters, BaseWeights(parameters), masters, optimizer)


def sample_sequences(model: nn.Module, *, count: int = 12, seed: int = 0) -> list[TrainingSequence]:
    """Sequences of many lengths, whose decisions the model has scored itself."""
    rng = np.random.default_rng(seed)
    sequences: list[TrainingSequence] = []
    for _ in range(count):
        length = int(rng.integers(5, 30))
        token_ids_T = rng.integers(0, 40, size=length)
        positions_D = np.sort(rng.choice(np.arange(1, length), size=3, replace=False))
        allowed = tuple(
            tuple(sorted({int(token_ids_T[p]), *rng.integers(0, 40, size=5).tolist()}))
            for p in positions_D
        )
        blank = TrainingSequence(
            token_ids_T,
            positions_D,
            allowed,
            np.zeros(3, np.float32),
            rng.normal(size=3).astype(np.float32),
        )
        with torch.no_grad():
            logprobs_D, _ = decision_scores(model, collate([blank]), temperature=1.0)
        sequences.append(replace(blank, old_logprobs_D=logprobs_D.numpy()))
    return sequences


def moved_off(sequences: Sequence[TrainingSequence], *, by: float) -> list[TrainingSequence]:
    """The same sequences, as if sampled by a policy some way off, so that ratios are clipped."""
    rng = np.random.default_rng(1)
    return [
        replace(s, old_logprobs_D=s.old_logprobs_D + by * rng.normal(size=3).astype(np.float32))
        for s in sequences
    ]


def without_advantage(sequence: TrainingSequence, *, but: float = 0.0) -> TrainingSequence:
    """The same sequence without an advantage, or with the same small one everywhere."""
    return replace(sequence, advantages_D=np.full(3, but, np.float32))


def coarse(model: nn.Module) -> nn.Module:
    """The model in bfloat16, its matrices as small as those of real models."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(1 / 16)
    return model.bfloat16()


def gradients(
    learner: Learner, sequences: Sequence[TrainingSequence], settings: TrainSettings
) -> dict[str, torch.Tensor]:
    learner.model.zero_grad(set_to_none=True)
    reference = reference_logprobs(learner, sequences, settings)
    accumulate_gradients(learner, weigh(sequences, reference, settings.loss), settings)
    by_name: dict[str, torch.Tensor] = {}
    for name, stepped in learner.masters.stepped.items():
        assert stepped.grad is not None
        by_name[name] = stepped.grad.clone()
        stepped.grad = None
    return by_name


def norm(tensor: torch.Tensor) -> float:
    return float(tensor.detach().square().sum().sqrt())


def measured(value: float | None) -> float:
    assert value is not None
    return value


def shift(learner: Learner) -> None:
    """Move the parameters away from the base, so that KL is not zero."""
    with torch.no_grad():
        for parameter in learner.parameters.values():
            parameter.mul_(1.05)


@pytest.mark.parametrize(
    ("aggregation", "sequence_ratio"),
    [*((a, False) for a in Aggregation), (Aggregation.GRPO, True)],
)
def test_gradient_does_not_depend_on_the_micro_batch_size(
    make_model: ModelMaker, aggregation: Aggregation, sequence_ratio: bool
) -> None:
    learner = learner_of(make_model("qwen3"))
    sequences = moved_off(sample_sequences(learner.model), by=0.5)
    shift(learner)
    loss = loss_settings(
        kl_coef=0.05, entropy_coef=0.01, aggregation=aggregation, sequence_ratio=sequence_ratio
    )
    whole = gradients(learner, sequences, train_settings(loss=loss, micro_batch_tokens=10**6))
    # 1 token: every sequence alone; 70: a few together, and a partial last one
    for tokens in (1, 70):
        cut = gradients(learner, sequences, train_settings(loss=loss, micro_batch_tokens=tokens))
        for name, gradient in whole.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(cut[name], gradient, rtol=1e-4, atol=1e-7)


def test_loss_does_not_depend_on_the_micro_batch_size(make_model: ModelMaker) -> None:
    stats = [
        update(
            learner := learner_of(make_model("qwen3")),
            moved_off(sample_sequences(learner.model), by=0.5),
            train_settings(loss=NO_KL, micro_batch_tokens=tokens),
            rng=np.random.default_rng(0),
        )
        for tokens in (1, 10**6)
    ]
    assert stats[0].loss == pytest.approx(stats[1].loss, rel=1e-5)
    assert stats[0].grad_norm == pytest.approx(stats[1].grad_norm, rel=1e-5)
    assert stats[0].clip_fraction == measured(stats[1].clip_fraction) > 0.0


def test_leaving_sequences_without_advantage_out_does_not_change_the_gradient(
    make_model: ModelMaker,
) -> None:
    learner = learner_of(make_model("qwen3"))
    sequences = sample_sequences(learner.model)
    mixed = [*map(without_advantage, sequences[:5]), *sequences[5:]]
    settings = train_settings(loss=NO_KL)
    ours = gradients(learner, mixed, settings)
    # An entropy bonus of next to nothing has every sequence run.
    kept = gradients(learner, mixed, train_settings(loss=replace(NO_KL, entropy_coef=1e-12)))
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, kept[name], rtol=1e-5, atol=1e-8)


def test_everything_outside_the_selection_stays_bit_identical(make_model: ModelMaker) -> None:
    model = make_model("qwen3")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner = learner_of(model, "1,3")
    settings = train_settings(loss=loss_settings(kl_coef=0.1), epochs=2, minibatches=3)
    for seed in range(3):
        sequences = sample_sequences(model, seed=seed)
        update(learner, sequences, settings, rng=np.random.default_rng(seed))
    selected = ("model.layers.1.", "model.layers.3.")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith(selected), name
    held = {id(parameter) for parameter in learner.optimizer.state}
    assert held == {id(parameter) for parameter in learner.parameters.values()}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("selection", ["1,3", "full"])
def test_coarse_weights_stay_and_have_no_state_outside_the_selection(
    make_model: ModelMaker, selection: str
) -> None:
    model = coarse(make_model("qwen3"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner = learner_of(model, selection)
    settings = train_settings(loss=loss_settings(kl_coef=0.1), epochs=2, minibatches=3)
    update(learner, sample_sequences(model), settings, rng=np.random.default_rng(0))
    selected = ("model.layers.1.", "model.layers.3.") if selection == "1,3" else ""
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith(selected), name
    assert learner.masters.tensors.keys() == learner.parameters.keys()
    held = {id(parameter) for parameter in learner.optimizer.state}
    assert held == {id(master) for master in learner.masters.tensors.values()}
    for name, master in learner.masters.tensors.items():
        assert torch.equal(learner.parameters[name], master.bfloat16()), name
    assert all(p.grad is None for p in (*model.parameters(), *learner.masters.stepped.values()))


def test_coarse_weights_move_at_a_small_rate_as_fine_ones_do(make_model: ModelMaker) -> None:
    low, full = (coarse(make_model("qwen3")) for _ in range(2))
    learners = [learner_of(model, rate=5e-6) for model in (low, full.float())]
    sequences = sample_sequences(full)
    for learner in learners:
        for _ in range(40):
            update(learner, sequences, train_settings(loss=NO_KL), rng=np.random.default_rng(0))
    ours, theirs = learners
    for name, parameter in ours.parameters.items():
        if parameter.dim() == 1:
            continue  # 40 steps of 5e-6 are less than half the distance between weights near 1.
        there = theirs.parameters[name].bfloat16()
        assert (there.float() != theirs.base.tensors[name]).float().mean() > 0.9
        # Gradients differ by their rounding, and now and then a weight falls the other way.
        moved = norm(there.float() - theirs.base.tensors[name])
        assert norm(parameter.float() - there.float()) < 0.25 * moved, name


def test_gradients_of_micro_batches_add_up_in_float32(make_model: ModelMaker) -> None:
    learner = learner_of(coarse(make_model("qwen3")))
    sequences = sorted(sample_sequences(learner.model), key=lambda s: len(s.token_ids_T))
    settings = train_settings(loss=NO_KL, micro_batch_tokens=1)
    nothing = [np.zeros(3, np.float32) for _ in sequences]
    weighed = weigh(sequences, nothing, settings.loss)
    total = {name: torch.zeros(p.shape) for name, p in learner.parameters.items()}
    for item in weighed:
        accumulate_gradients(learner, [item], settings)
        for name, stepped in learner.masters.stepped.items():
            assert stepped.grad is not None
            assert torch.equal(stepped.grad, stepped.grad.bfloat16())
            total[name] += stepped.grad
            stepped.grad = None
    accumulate_gradients(learner, weighed, settings)
    for name, stepped in learner.masters.stepped.items():
        assert stepped.grad is not None
        assert torch.equal(stepped.grad, total[name]), name


def test_coarse_gradient_hardly_depends_on_the_micro_batch_size(make_model: ModelMaker) -> None:
    learner = learner_of(coarse(make_model("qwen3")))
    sequences = sample_sequences(learner.model)
    whole, cut = (
        gradients(learner, sequences, train_settings(loss=NO_KL, micro_batch_tokens=tokens))
        for tokens in (10**6, 1)
    )
    for name, gradient in whole.items():
        assert norm(cut[name] - gradient) < 0.05 * norm(gradient), name


def test_full_selection_moves_every_parameter(make_model: ModelMaker) -> None:
    model = make_model("llama")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner = learner_of(model, "full")
    sequences = sample_sequences(model)
    update(learner, sequences, train_settings(loss=NO_KL), rng=np.random.default_rng(0))
    assert not any(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_step_makes_good_decisions_likelier_and_bad_ones_less_likely(
    make_model: ModelMaker,
) -> None:
    learner = learner_of(make_model("qwen3"), "full")
    sequences = sample_sequences(learner.model)
    for _ in range(5):
        update(learner, sequences, train_settings(loss=NO_KL), rng=np.random.default_rng(0))
    with torch.no_grad():
        batch = collate(sequences)
        logprobs_D, _ = decision_scores(learner.model, batch, temperature=1.0)
    gain = ((logprobs_D - batch.old_logprobs_D) * batch.advantages_D).mean()
    assert gain > 0.1


def test_first_step_on_own_samples_has_ratio_one_and_clips_nothing(
    make_model: ModelMaker,
) -> None:
    learner = learner_of(make_model("qwen3"))
    sequences = sample_sequences(learner.model)
    stats = update(learner, sequences, train_settings(loss=NO_KL), rng=np.random.default_rng(0))
    assert stats.max_ratio == pytest.approx(1.0, abs=1e-5)
    assert (stats.clip_fraction, stats.steps, stats.decisions) == (0.0, 1, 36)
    assert measured(stats.entropy) > 0.0


def test_kl_is_measured_where_the_loss_has_a_reference(make_model: ModelMaker) -> None:
    kl: list[float | None] = []
    for loss in (NO_KL, loss_settings(kl_coef=0.1)):
        learner = learner_of(make_model("qwen3"))
        sequences = sample_sequences(learner.model)
        settings = train_settings(loss=loss)
        kl.append(update(learner, sequences, settings, rng=np.random.default_rng(0)).kl)
    # Before the first step the policy is the reference.
    assert kl == [None, pytest.approx(0.0, abs=1e-6)]


def test_entropy_is_that_of_the_decisions_learned_from(make_model: ModelMaker) -> None:
    learner = learner_of(make_model("qwen3"))
    sequences = sample_sequences(learner.model)
    with torch.no_grad():
        _, entropy_D = decision_scores(learner.model, collate(sequences[:4]), temperature=1.0)
    mixed = [*sequences[:4], *map(without_advantage, sequences[4:])]
    stats = update(learner, mixed, train_settings(loss=NO_KL), rng=np.random.default_rng(0))
    assert stats.decisions == 12
    assert stats.entropy == pytest.approx(float(entropy_D.mean()), rel=1e-5)


@pytest.mark.parametrize("is_coarse", [False, True])
def test_reference_is_the_base_model_and_leaves_no_trace(
    make_model: ModelMaker, is_coarse: bool
) -> None:
    learner = learner_of(coarse(make_model("qwen3")) if is_coarse else make_model("qwen3"))
    sequences = sample_sequences(learner.model)
    shift(learner)
    masters = {name: tensor.clone() for name, tensor in learner.masters.tensors.items()}
    moved = {name: p.detach().clone() for name, p in learner.parameters.items()}
    settings = train_settings(loss=loss_settings(kl_coef=0.1), micro_batch_tokens=60)
    for sequence, scores_D in zip(
        sequences, reference_logprobs(learner, sequences, settings), strict=True
    ):
        # Padding changes how bfloat16 rounds.
        tolerance = 1e-2 if is_coarse else 1e-5
        np.testing.assert_allclose(scores_D, sequence.old_logprobs_D, atol=tolerance)
    for name, parameter in learner.parameters.items():
        assert torch.equal(parameter, moved[name])
    for name, master in learner.masters.tensors.items():
        assert torch.equal(master, masters[name])


def test_kl_pulls_towards_the_base_model(make_model: ModelMaker) -> None:
    learner = learner_of(make_model("qwen3"))
    sequences = sample_sequences(learner.model)
    # An advantage of next to nothing, so that KL alone decides where the step goes.
    faint = [without_advantage(sequences[0], but=1e-6), *map(without_advantage, sequences[1:])]
    shift(learner)
    settings = train_settings(loss=loss_settings(kl_coef=1.0))
    history = [update(learner, faint, settings, rng=np.random.default_rng(0)) for _ in range(20)]
    assert {stats.decisions for stats in history} == {36}
    assert 0.0 < measured(history[-1].kl) < measured(history[0].kl) / 2


@pytest.mark.parametrize(
    "loss", [NO_KL, loss_settings(kl_coef=1.0), loss_settings(kl_coef=0.0, entropy_coef=1.0)]
)
def test_a_batch_without_any_advantage_takes_no_step(
    make_model: ModelMaker, loss: LossSettings
) -> None:
    learner = learner_of(make_model("qwen3"))
    shift(learner)
    before = {name: p.detach().clone() for name, p in learner.parameters.items()}
    for sequences in (list(map(without_advantage, sample_sequences(learner.model))), []):
        settings = train_settings(loss=loss, minibatches=2)
        stats = update(learner, sequences, settings, rng=np.random.default_rng(0))
        assert stats == NO_STEP
    # Weight decay alone would have moved them.
    assert all(torch.equal(p, before[name]) for name, p in learner.parameters.items())
    assert not learner.optimizer.state


def test_only_batches_with_an_advantage_take_a_step(make_model: ModelMaker) -> None:
    learner = learner_of(make_model("qwen3"))
    sequences = sample_sequences(learner.model)
    lone = [sequences[0], *map(without_advantage, sequences[1:])]
    settings = train_settings(loss=loss_settings(kl_coef=0.1), minibatches=3)
    stats = update(learner, lone, settings, rng=np.random.default_rng(0))
    # One of 3 batches, with all of its 4 sequences of 3 decisions.
    assert (stats.steps, stats.decisions) == (1, 12)


def test_epochs_and_minibatches_give_that_many_steps(make_model: ModelMaker) -> None:
    learner = learner_of(make_model("qwen3"))
    settings = train_settings(loss=NO_KL, epochs=2, minibatches=3)
    sequences = sample_sequences(learner.model)
    stats = update(learner, sequences, settings, rng=np.random.default_rng(0))
    assert (stats.steps, stats.decisions) == (6, 72)
    assert measured(stats.max_ratio) > 1.0


def test_gradient_is_clipped_after_its_norm_is_reported(make_model: ModelMaker) -> None:
    norms: list[float] = []
    for clip in (1e9, 1e-3):
        learner = learner_of(make_model("qwen3"))
        plain = torch.optim.SGD(learner.parameters.values(), lr=1.0)
        learner = replace(learner, optimizer=plain)
        settings = train_settings(loss=NO_KL, grad_clip=clip)
        sequences = sample_sequences(learner.model)
        stats = update(learner, sequences, settings, rng=np.random.default_rng(0))
        norms.append(measured(stats.grad_norm))
    moved = [
        (parameter.detach() - learner.base.tensors[name]).square().sum()
        for name, parameter in learner.parameters.items()
    ]
    assert norms[0] == pytest.approx(norms[1])
    assert float(torch.stack(moved).sum().sqrt()) == pytest.approx(1e-3, rel=1e-2)


def test_endless_gradient_is_refused_before_the_step(make_model: ModelMaker) -> None:
    learner = learner_of(make_model("qwen3"))
    endless = np.full(3, np.inf, np.float32)
    sequences = [replace(s, advantages_D=endless) for s in sample_sequences(learner.model)]
    with pytest.raises(FloatingPointError, match="gradient's norm is"):
        update(learner, sequences, train_settings(loss=NO_KL), rng=np.random.default_rng(0))
    for name, parameter in learner.parameters.items():
        assert torch.equal(parameter, learner.base.tensors[name])
