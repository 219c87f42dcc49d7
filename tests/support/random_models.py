"""Real transformers, small enough for a unit test."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

ModelMaker = Callable[[str], nn.Module]


@pytest.fixture
def make_model() -> ModelMaker:
    """Make a randomly initialised model of 4 layers and 40 tokens: the same one each time."""
    return _make_model


def _make_model(family: str) -> nn.Module:
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": 32,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
    }
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**sizes, tie_word_embeddings=True)).eval()
    return LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False)).eval()
