"""The loss against numbers worked out by hand, and its independence of micro-batches."""
# torch leaves parts of backward and autograd untyped.
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass, replace
from math import exp, log

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from layerbench.errors import UserError
from layerbench.rl.losses import (
    importance_ratio,
    is_clipped,
    kl_estimate,
    token_loss,
    token_weights,
)
from layerbench.rl.settings import Aggregation, KLKind
from tests.support.train_settings import loss_settings

# A busy machine is no reason to fail.
untimed = given_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
PLAIN = loss_settings(clip_low=0.2, clip_high=0.28, dual_clip=3.0)


def loss_of(ratio: float, advantage: float) -> tuple[float, float]:
    """Return one decision's loss at this importance ratio, and its slope in the log-probability."""
    logprobs_D = tensor([log(0.1 * ratio)], dtype=torch.float64, requires_grad=True)
    loss_D = token_loss(
        logprobs_D,
        tensor([log(0.1)], dtype=torch.float64),
        tensor([advantage], dtype=torch.float64),
        rows_D=tensor([0]),
        settings=PLAIN,
    )
    loss_D.sum().backward()
    assert logprobs_D.grad is not None
    return float(loss_D.detach()[0]), float(logprobs_D.grad[0])


# Surrogate


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # On policy the loss is -A, and its slope -A: the policy gradient.
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        # Inside the clip: -rA.
        (1.25, 2.0, -2.5, -2.5),
        (0.9, -2.0, 1.8, 1.8),
        # Risen past 1.28 with A > 0, or fallen below 0.8 with A < 0: constant.
        (1.5, 2.0, -2.56, 0.0),
        (0.5, -2.0, 1.6, 0.0),
        # On the other side the clip does not help the policy, so it does not hold.
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),
        # Dual clip: at most 3 x 2.
        (5.0, -2.0, 6.0, 0.0),
        # ... for negative advantages alone.
        (5.0, 2.0, -2.56, 0.0),
    ],
)
def test_surrogate_is_clipped_on_the_side_that_would_profit(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    got_loss, got_slope = loss_of(ratio, advantage)
    assert got_loss == pytest.approx(loss)
    assert got_slope == pytest.approx(slope)


@untimed
@given(st.floats(0.05, 8.0), st.floats(-3.0, 3.0).filter(lambda a: abs(a) > 1e-3))
def test_clipped_is_what_has_no_slope(ratio: float, advantage: float) -> None:
    near_an_edge = min(abs(ratio - edge) for edge in (0.8, 1.28, 3.0)) < 1e-3
    if not near_an_edge:
        clipped_D = is_clipped(tensor([ratio]), tensor([advantage]), settings=PLAIN)
        assert bool(clipped_D[0]) == (loss_of(ratio, advantage)[1] == 0.0)


def test_ratio_of_a_far_off_policy_stays_finite() -> None:
    loss, slope = loss_of(exp(300.0), 1.0)
    assert (loss, slope) == (pytest.approx(-1.28), 0.0)


def test_sequence_ratio_is_the_geometric_mean_of_its_decisions() -> None:
    # Sequence 3: log-ratios 0.3 and -0.1, mean 0.1. Sequence 0: 0.2 alone.
    ratio_D = importance_ratio(
        tensor([0.3, -0.1, 0.2]), torch.zeros(3), rows_D=tensor([3, 3, 0]), sequence_ratio=True
    )
    torch.testing.assert_close(ratio_D, tensor([exp(0.1), exp(0.1), exp(0.2)]))


def test_sequence_ratio_shares_the_gradient_among_its_decisions() -> None:
    logprobs_D = torch.zeros(4, requires_grad=True)
    settings = replace(PLAIN, sequence_ratio=True)
    rows_D = tensor([0, 0, 0, 1])
    loss_D = token_loss(
        logprobs_D, torch.zeros(4), tensor([3.0, 0.0, 0.0, 1.0]), rows_D=rows_D, settings=settings
    )
    loss_D.sum().backward()
    # Of -3r each of three decisions moves r by a third.
    assert logprobs_D.grad is not None
    torch.testing.assert_close(logprobs_D.grad, tensor([-1.0, -1.0, -1.0, -1.0]))


@pytest.mark.parametrize("aggregation", [Aggregation.TOKEN_MEAN, Aggregation.DR_GRPO])
def test_sequence_ratio_is_refused_where_long_sequences_weigh_more(
    aggregation: Aggregation,
) -> None:
    with pytest.raises(UserError, match=r"give train\.aggregation=grpo"):
        replace(PLAIN, sequence_ratio=True, aggregation=aggregation)


def test_sequence_ratio_weighs_sequences_equally() -> None:
    # arXiv:2507.18071, equation 5: the mean over sequences, of 2 and 10 decisions here. Both
    # ratios are 1, so each sequence's loss is -A: together -(3 + 5) / 2.
    settings = replace(PLAIN, sequence_ratio=True, aggregation=Aggregation.GRPO)
    rows_D = tensor([0] * 2 + [1] * 10)
    weights_D = token_weights(rows_D, num_sequences=2, num_decisions=12, settings=settings)
    assert [float(weights_D[:2].sum()), float(weights_D[2:].sum())] == pytest.approx([0.5, 0.5])
    advantages_D = tensor([3.0] * 2 + [5.0] * 10)
    loss_D = token_loss(
        torch.zeros(12), torch.zeros(12), advantages_D, rows_D=rows_D, settings=settings
    )
    assert float((weights_D * loss_D).sum()) == pytest.approx(-4.0)


# KL


@pytest.mark.parametrize(
    ("kind", "expected"),
    # d = 0.5: 0.5; 0.125; e^-0.5 + 0.5 - 1 = 0.1065307.
    [(KLKind.K1, 0.5), (KLKind.K2, 0.125), (KLKind.K3, 0.1065307)],
)
def test_kl_estimate_by_hand(kind: KLKind, expected: float) -> None:
    kl_D = kl_estimate(tensor([-1.0]), tensor([-1.5]), kind=kind)
    assert float(kl_D[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KLKind)
def test_kl_estimate_of_equal_policies_is_zero(kind: KLKind) -> None:
    assert kl_estimate(tensor([-1.0]), tensor([-1.0]), kind=kind).tolist() == [0.0]


@pytest.mark.parametrize("kind", KLKind)
@pytest.mark.parametrize("d", [-300.0, 300.0])
def test_kl_estimate_is_cut_and_its_gradient_finite(kind: KLKind, d: float) -> None:
    logprobs_D = tensor([d], requires_grad=True)
    kl_D = kl_estimate(logprobs_D, tensor([0.0]), kind=kind)
    kl_D.sum().backward()
    assert abs(float(kl_D.detach()[0])) == 10.0
    assert logprobs_D.grad is not None
    assert logprobs_D.grad.tolist() == [0.0]


@pytest.mark.parametrize("kind", [KLKind.K1, KLKind.K3])
def test_k1_and_k3_are_unbiased(kind: KLKind) -> None:
    policy_K, reference_K = tensor([0.2, 0.3, 0.5]), tensor([0.4, 0.4, 0.2])
    kl = float((policy_K * (policy_K / reference_K).log()).sum())
    expected = (policy_K * kl_estimate(policy_K.log(), reference_K.log(), kind=kind)).sum()
    assert float(expected) == pytest.approx(kl, abs=1e-6)


# Aggregation

ROWS = tensor([0, 2, 2, 2])
LOSSES = tensor([1.0, 2.0, 3.0, 7.0])


def total(aggregation: Aggregation, *, num_sequences: int = 2, num_decisions: int = 4) -> float:
    weights_D = token_weights(
        ROWS,
        num_sequences=num_sequences,
        num_decisions=num_decisions,
        settings=loss_settings(aggregation=aggregation, max_tokens=10),
    )
    return float((weights_D * LOSSES).sum())


def test_grpo_averages_within_sequences_and_then_over_them() -> None:
    # Means 1 and 4, so 2.5; with two more sequences that have no gradient, 5 / 4.
    assert total(Aggregation.GRPO) == pytest.approx(2.5)
    assert total(Aggregation.GRPO, num_sequences=4, num_decisions=9) == pytest.approx(1.25)


def test_token_mean_averages_over_all_decisions() -> None:
    # 13 / 4; with two more sequences of 9 decisions together, 13 / 13.
    assert total(Aggregation.TOKEN_MEAN) == pytest.approx(3.25)
    assert total(Aggregation.TOKEN_MEAN, num_sequences=4, num_decisions=13) == pytest.approx(1.0)


def test_dr_grpo_divides_by_a_constant_length() -> None:
    # 13 / (2 x 10); the number of decisions does not matter.
    assert total(Aggregation.DR_GRPO) == pytest.approx(0.65)
    assert total(Aggregation.DR_GRPO, num_decisions=400) == pytest.approx(0.65)


@pytest.mark.parametrize("aggregation", Aggregation)
def test_batch_without_decisions_has_no_weights(aggregation: Aggregation) -> None:
    settings = loss_settings(aggregation=aggregation)
    rows_D = torch.zeros(0, dtype=torch.int64)
    for count in (0, 3):
        weights_D = token_weights(
            rows_D, num_sequences=count, num_decisions=count, settings=settings
        )
        assert weights_D.shape == (0,)


@pytest.mark.parametrize(("num_sequences", "num_decisions"), [(1, 4), (2, 3)])
def test_more_rows_than_were_counted_are_refused(num_sequences: int, num_decisions: int) -> None:
    with pytest.raises(ValueError, match="but 2 and 4 are to be weighed"):
        total(Aggregation.GRPO, num_sequences=num_sequences, num_decisions=num_decisions)


@dataclass(frozen=True)
class Batch:
    """Decisions of a small batch; ``cuts`` puts each sequence in a micro-batch."""

    rows_D: Tensor
    logprobs_D: Tensor
    old_logprobs_D: Tensor
    advantages_D: Tensor
    cuts_B: list[int]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    size = sum(lengths)
    return Batch(
        rows_D=torch.repeat_interleave(torch.arange(len(lengths)), tensor(lengths)),
        logprobs_D=torch.randn(size, generator=generator, dtype=torch.float64),
        old_logprobs_D=torch.randn(size, generator=generator, dtype=torch.float64),
        advantages_D=torch.randn(size, generator=generator, dtype=torch.float64),
        cuts_B=[draw(st.integers(0, 3)) for _ in lengths],
    )


AGGREGATIONS = [(aggregation, False) for aggregation in Aggregation] + [(Aggregation.GRPO, True)]
"""Every aggregation, and whether sequences have one ratio each."""


@untimed
@given(batches(), st.sampled_from(AGGREGATIONS))
def test_loss_and_gradient_do_not_depend_on_micro_batches(
    batch: Batch, averaging: tuple[Aggregation, bool]
) -> None:
    aggregation, sequence_ratio = averaging
    settings = loss_settings(
        aggregation=aggregation, max_tokens=8, sequence_ratio=sequence_ratio, kl_coef=0.1
    )
    weights_D = token_weights(
        batch.rows_D,
        num_sequences=len(batch.cuts_B),
        num_decisions=len(batch.rows_D),
        settings=settings,
    )

    def loss_and_gradient(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        logprobs_D = batch.logprobs_D.clone().requires_grad_()
        losses: list[Tensor] = []
        for part in parts:
            loss_D = token_loss(
                logprobs_D[part],
                batch.old_logprobs_D[part],
                batch.advantages_D[part],
                rows_D=batch.rows_D[part],
                settings=settings,
            )
            kl_D = kl_estimate(logprobs_D[part], batch.old_logprobs_D[part], kind=settings.kl_kind)
            losses.append((weights_D[part] * (loss_D + settings.kl_coef * kl_D)).sum())
            losses[-1].backward()
        assert logprobs_D.grad is not None
        return torch.stack(losses).sum().detach(), logprobs_D.grad

    cuts_D = tensor(batch.cuts_B)[batch.rows_D]
    parts = [torch.nonzero(cuts_D == cut)[:, 0] for cut in range(4)]
    together = loss_and_gradient([torch.arange(len(batch.rows_D))])
    apart = loss_and_gradient([part for part in parts if len(part)])
    torch.testing.assert_close(apart, together, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("clip_low", 1.0), ("clip_high", -0.1), ("dual_clip", 0.5), ("kl_coef", -1.0)],
)
def test_setting_out_of_its_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        loss_settings(**{field: value})  # pyright: ignore[reportArgumentType]
