"""Sequences that share a row: scores, gradients and weights are those of padded ones."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, MambaConfig, MambaForCausalLM
from transformers.masking_utils import (
    AttentionMaskInterface,
    flash_attention_mask,  # pyright: ignore[reportUnknownVariableType]
)

from layerbench.agents.types import ActionMode, ContextMode
from layerbench.rl import sharpness
from layerbench.rl.batcher import Batcher
from layerbench.rl.batching import TrainingSequence
from layerbench.rl.frozen_prefix import FrozenPrefix, find_prefix
from layerbench.rl.layers import BaseWeights
from layerbench.rl.lora import changed_parameters
from layerbench.rl.packed_sequences import gains_by_packing, keeps_packed_apart
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import TrainSettings
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Group
from layerbench.rl.update import update
from tests.rl import test_families
from tests.rl.test_frozen_prefix import gradients
from tests.support import model_families

CPU = torch.device("cpu")
TOLERANCE = 1e-5
VARIABLE_LENGTH = "flash_attention_on_cpu"


def variable_length_attention(
    module: Any,  # noqa: ANN401
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend as flash-attn does, which has no kernels for a CPU: within each sequence alone."""
    assert attention_mask is None
    lengths = [query.shape[2]]
    if cu_seq_lens_q is not None:
        lengths = [int(length) for length in cu_seq_lens_q.diff()]
    assert max_length_q in (None, max(lengths))
    attended = [
        nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=True
        )
        for q, k, v in zip(*(torch.split(t, lengths, 2) for t in (query, key, value)), strict=True)
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


def register(name: str, attention: Callable[..., Any]) -> None:
    """Let models of transformers take this attention, and no mask."""
    cast(Any, AttentionInterface).register(name, attention)
    cast(Any, AttentionMaskInterface).register(name, flash_attention_mask)


register(VARIABLE_LENGTH, variable_length_attention)


def make(name: str = "qwen3", *, attention: str = "sdpa") -> nn.Module:
    model = model_families.make(name)
    config: Any = model.config
    config._attn_implementation = attention
    return model


def sequences_from(
    model: nn.Module, played: tuple[ActionMode, ContextMode] = test_families.CHOSEN
) -> list[TrainingSequence]:
    return test_families.sequences_of(Group(tuple(model_families.play(model, *played))))


def prefix_of(model: nn.Module, selection: str) -> FrozenPrefix | None:
    chosen = parse_selection(selection, model_families.NUM_LAYERS)
    return find_prefix(model, chosen, changed=changed_parameters(model, chosen).values())


@pytest.mark.parametrize("reuses", [False, True])
@pytest.mark.parametrize("played", model_families.MODES, ids="-".join)
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_scores_and_gradients_are_those_of_padded_sequences(
    name: str, played: tuple[ActionMode, ContextMode], *, reuses: bool
) -> None:
    model = make(name)
    sequences = sequences_from(model, played)
    assert len(sequences) > 1
    prefix = prefix_of(model, "1,2") if reuses else None
    padded, padded_gradients = gradients(model, sequences, prefix, packs=False)
    packed, packed_gradients = gradients(model, sequences, prefix, packs=True)
    torch.testing.assert_close(packed, padded, rtol=0, atol=TOLERANCE)
    assert packed_gradients.keys() == padded_gradients.keys()
    for parameter, gradient in padded_gradients.items():
        # A sum's rounding is that of its largest terms.
        atol = TOLERANCE * max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(packed_gradients[parameter], gradient, rtol=0, atol=atol)


@pytest.mark.parametrize("sequence_ratio", [False, True])
@pytest.mark.parametrize("selection", ["2", "0", "full"])
def test_an_update_ends_in_the_same_weights(selection: str, *, sequence_ratio: bool) -> None:
    ends: list[dict[str, Tensor]] = []
    for attention in ("sdpa", VARIABLE_LENGTH):
        # A second epoch reads kept states, and the small bound cuts several batches of several.
        settings: TrainSettings = replace(
            test_families.SETTINGS,
            reuse_mb=100,
            epochs=2,
            micro_batch_tokens=320,
            loss=replace(test_families.SETTINGS.loss, sequence_ratio=sequence_ratio),
        )
        model = make(attention=attention)
        sequences = sequences_from(make())
        chosen = parse_selection(selection, model_families.NUM_LAYERS)
        learner = make_learner(model, chosen, settings, seed=0)
        assert learner.packs == (attention == VARIABLE_LENGTH)
        batches = Batcher(None, packs=learner.packs).batches(
            sequences, max_tokens=settings.micro_batch_tokens, device=CPU
        )
        counts = [len(indices) for indices, _ in batches]
        assert len(counts) > 1
        assert max(counts) > 1
        update(learner, sequences, settings, rng=np.random.default_rng(0))
        ends.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    for name, tensor in ends[0].items():
        # AdamW makes a step of 0.01 of whatever gradient: rounding of small ones is seen.
        torch.testing.assert_close(ends[1][name], tensor, rtol=0, atol=2e-4)


def test_nothing_is_read_but_what_decisions_rest_on() -> None:
    sequences = sequences_from(make())
    assert len({len(s.token_ids_T) for s in sequences}) > 1
    batch = Batcher(None, packs=True).collate(sequences, device=CPU)
    assert batch.token_ids_BT.shape == (1, sum(int(s.positions_D[-1]) for s in sequences))


def test_sharpness_is_that_of_padded_sequences() -> None:
    measured: list[sharpness.Sharpness | None] = []
    played = model_families.play(make(), *test_families.CHOSEN)
    for attention in ("sdpa", VARIABLE_LENGTH):
        model = make(attention=attention)
        chosen = parse_selection("2", model_families.NUM_LAYERS)
        parameters = changed_parameters(model, chosen)
        base = BaseWeights(parameters)
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.mul_(1.1)
        measured.append(sharpness.measure(model, played, base=base, micro_batch_tokens=2000))
    padded, packed = measured
    assert padded is not None
    assert packed is not None
    assert packed.entropy == pytest.approx(padded.entropy, abs=TOLERANCE)
    assert packed.kl == pytest.approx(padded.kl, abs=TOLERANCE)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_that_would_mask_out_what_it_computes_pads(attention: str) -> None:
    assert not gains_by_packing(make(attention=attention))


def test_models_that_let_sequences_run_into_each_other_pad() -> None:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    sizes = MambaConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, state_size=4)
    recurrent = MambaForCausalLM(sizes).eval()
    assert not keeps_packed_apart(recurrent)
    # Its code looks at positions alone, which it is given, but attention at neither of them.
    model = make(attention=VARIABLE_LENGTH)
    assert keeps_packed_apart(model)

    def deaf(*arguments: Any, cu_seq_lens_q: Tensor | None = None, **options: Any) -> Any:  # noqa: ANN401
        return variable_length_attention(*arguments, **{**options, "max_length_q": None})

    register("flash_attention_deaf", deaf)
    with pytest.warns(UserWarning, match="does not keep packed sequences apart"):
        assert not gains_by_packing(make(attention="flash_attention_deaf"))
