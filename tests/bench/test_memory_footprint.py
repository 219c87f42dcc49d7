"""Memory by shape, against published counts and against tensors as they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from bench.memory_footprint import SHAPES, Shape, footprint, memory_table
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.rl.batching import make_sequences
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Advantages, Group
from layerbench.rl.update import update
from tests.support import model_families
from tests.support.train_settings import train_settings

DOCS = Path(__file__).parents[2] / "docs" / "models.md"

# From the model cards: billions of parameters, and of those outside the embeddings.
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B-Instruct": ("0.49", "0.36"),
    "Qwen/Qwen2.5-1.5B-Instruct": ("1.54", "1.31"),
    "Qwen/Qwen2.5-3B-Instruct": ("3.09", "2.77"),
    "Qwen/Qwen2.5-7B-Instruct": ("7.61", "6.53"),
    "Qwen/Qwen3-0.6B": ("0.6", "0.44"),
    "Qwen/Qwen3-1.7B": ("1.7", "1.4"),
    "Qwen/Qwen3-4B": ("4.0", "3.6"),
    "Qwen/Qwen3-8B": ("8.2", "6.95"),
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_parameters_are_as_many_as_published(shape: Shape) -> None:
    matrices = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    for found, said in zip(
        (shape.parameters, shape.parameters - matrices), PUBLISHED[shape.name], strict=True
    ):
        # Some cards round and some cut off: within one of the last digit.
        assert abs(found / 1e9 - float(said)) < 10.0 ** -len(said.partition(".")[2])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_parameters_are_those_of_transformers(shape: Shape) -> None:
    shallow = replace(shape, num_layers=1)
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": 1,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "tie_word_embeddings": shape.tied,
    }
    with torch.device("meta"):
        if shape.head_norms:
            config = Qwen3Config(**sizes, head_dim=shape.head_size)
            model: Any = Qwen3ForCausalLM(config)
        else:
            model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    assert sum(p.numel() for p in model.parameters()) == shallow.parameters
    (block,) = decoder_blocks(model)
    assert sum(p.numel() for p in block.parameters()) == shape.layer_parameters


@pytest.mark.parametrize("selection", ["1", "0,2", "full"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_training_takes_what_was_computed(selection: str, dtype: torch.dtype) -> None:
    model = model_families.make("qwen3-tied")
    group = Group(tuple(model_families.play(model, ActionMode.CHOOSE, ContextMode.TRANSCRIPT)))
    # Micro-batches of one sequence each: their gradients are added up.
    settings = train_settings(micro_batch_tokens=1)
    learner = make_learner(model.to(dtype), parse_selection(selection, 3), settings, seed=0)
    held: list[int] = []
    take = learner.masters.accumulate_gradients_fp32

    def measure_and_take() -> None:
        own = [p.grad for p in learner.parameters.values()]
        sums = [m.grad for n, m in learner.masters.stepped.items() if n in learner.masters.tensors]
        held.append(size(tensor for tensor in (*own, *sums) if tensor is not None))
        take()

    learner.masters.accumulate_gradients_fp32 = measure_and_take
    ones = tuple(np.ones(len(t.turns), np.float32) for t in group.trajectories)
    sequences = make_sequences([group], [Advantages(ones, ones, ones)])
    update(learner, sequences, settings, rng=np.random.default_rng(0))
    assert len(held) > 1
    found = footprint(
        parameters=sum(p.numel() for p in model.parameters()),
        learned=sum(p.numel() for p in learner.parameters.values()),
        weight_bytes=dtype.itemsize,
    )
    averages = [s[key] for s in learner.optimizer.state.values() for key in s if key != "step"]
    assert size(model.parameters()) == found.weights
    assert max(held) == found.gradients
    assert size(learner.masters.tensors.values()) == found.masters
    assert size(averages) == found.adam


def test_documented_table_is_the_computed_one() -> None:
    assert memory_table() in DOCS.read_text(encoding="utf-8")


def size(tensors: Any) -> int:  # noqa: ANN401
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
