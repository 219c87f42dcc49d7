from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerbench.rl.batching import TrainingSequence, collate
from layerbench.rl.importance_correction import Mismatch, correct
from layerbench.rl.policy import decision_scores
from layerbench.rl.update import update
from tests.rl.test_update import ModelMaker, learner_of, moved_off, sample_sequences
from tests.support.train_settings import loss_settings, train_settings

LOGPROBS = st.floats(-30.0, 0.0, width=32)


def sequence_of(old: list[float], advantages: list[float]) -> TrainingSequence:
    count = len(old)
    return TrainingSequence(
        np.arange(count + 1),
        np.arange(1, count + 1),
        ((),) * count,
        np.array(old, np.float32),
        np.array(advantages, np.float32),
    )


@given(st.lists(st.tuples(LOGPROBS, LOGPROBS, st.floats(-5, 5, width=32)), min_size=1, max_size=8))
def test_decisions_are_weighed_by_the_truncated_ratio(
    decisions: list[tuple[float, float, float]],
) -> None:
    sampled, learned, advantages = map(list, zip(*decisions, strict=True))
    scored = np.array(learned, np.float32)
    (found,), mismatch = correct([sequence_of(sampled, advantages)], [scored], cap=2.0)
    ratios = np.minimum(np.exp(scored - np.array(sampled)), 2.0)
    assert found.advantages_D == pytest.approx(ratios * advantages, rel=1e-5, abs=1e-12)
    assert found.old_logprobs_D.tolist() == scored.tolist()
    distances = np.abs(scored.astype(float) - np.array(sampled))
    assert mismatch.mean == pytest.approx(distances.mean())
    assert mismatch.largest == pytest.approx(distances.max())
    assert mismatch.capped is not None
    assert 0.0 <= mismatch.capped <= 1.0


def test_nothing_to_correct_has_no_mismatch() -> None:
    assert correct([], [], cap=2.0) == ([], Mismatch())


def test_what_the_learner_sampled_itself_is_learned_from_as_without(
    make_model: ModelMaker,
) -> None:
    weights: list[dict[str, torch.Tensor]] = []
    for cap in (0.0, 2.0):
        learner = learner_of(make_model("qwen3"))
        sequences = sample_sequences(learner.model)
        settings = train_settings(loss=loss_settings(importance_cap=cap), epochs=2, minibatches=2)
        stats = update(learner, sequences, settings, rng=np.random.default_rng(0))
        assert stats.mismatch == pytest.approx(0.0, abs=1e-5)
        assert stats.capped == (0.0 if cap else None)
        weights.append({name: p.detach().clone() for name, p in learner.parameters.items()})
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=1e-6)


def test_the_mismatch_of_another_engine_is_measured_with_and_without_a_correction(
    make_model: ModelMaker,
) -> None:
    mismatches: list[tuple[float | None, float | None]] = []
    for cap in (0.0, 1.5):
        learner = learner_of(make_model("qwen3"))
        sequences = moved_off(sample_sequences(learner.model), by=0.5)
        settings = train_settings(loss=loss_settings(kl_coef=0.0, importance_cap=cap))
        stats = update(learner, sequences, settings, rng=np.random.default_rng(0))
        mismatches.append((stats.mismatch, stats.max_mismatch))
        if cap:
            # One of six lies more than log 1.5 above, where the noise has deviation 0.5.
            assert stats.capped == pytest.approx(0.2, abs=0.15)
            # The clip looks at how far the learner has moved from itself, which it has not.
            assert stats.max_ratio == pytest.approx(1.0, abs=1e-5)
    assert mismatches[0] == pytest.approx(mismatches[1], rel=1e-4)
    assert mismatches[0][0] == pytest.approx(0.4, abs=0.1)  # 0.5 * sqrt(2 / pi)


def test_corrected_gradients_are_those_of_the_learners_own_samples(
    make_model: ModelMaker,
) -> None:
    """On average: each token of a position, weighed by how often either engine would sample it."""
    learner = learner_of(make_model("qwen3"))
    (sequence, *_) = sample_sequences(learner.model, count=1)
    at = int(sequence.positions_D[0])
    choices = sequence.allowed[0]
    variants = [
        replace(
            sequence,
            token_ids_T=np.array([*sequence.token_ids_T[:at], token]),
            positions_D=np.array([at]),
            allowed=(choices,),
            old_logprobs_D=np.zeros(1, np.float32),
            advantages_D=np.array([1.0 + index], np.float32),
        )
        for index, token in enumerate(choices)
    ]
    with torch.no_grad():
        own_D, _ = decision_scores(learner.model, collate(variants), temperature=1.0)
    off = np.random.default_rng(0).normal(size=len(choices)) * 0.3
    sampler = np.log(np.exp(own_D.numpy() + off) / np.exp(own_D.numpy() + off).sum())
    sampled = [
        replace(v, old_logprobs_D=np.array([old], np.float32))
        for v, old in zip(variants, sampler, strict=True)
    ]
    corrected, _ = correct(sampled, [np.array([p], np.float32) for p in own_D.numpy()], cap=100.0)
    learned = sum(
        np.exp(old) * float(c.advantages_D[0]) for c, old in zip(corrected, sampler, strict=True)
    )
    expected = sum(
        np.exp(p) * float(v.advantages_D[0]) for v, p in zip(variants, own_D.numpy(), strict=True)
    )
    assert learned == pytest.approx(expected, rel=1e-5)
