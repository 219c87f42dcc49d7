"""Real transformers and tokenizers, small enough for a unit test."""

from typing import Any, cast

import tokenizers
import torch
from tokenizers import models, pre_tokenizers
from torch import nn
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from layerbench.agents.context import Tokenizer
from layerbench.envs.keydoor.env import METALS, WOODS

CHATML = (
    "{% for message in messages %}"
    "<|im_start|> {{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant\n{% endif %}"
)

# As Qwen3's template: the thoughts of a response are left out once another message follows it, and
# empty thoughts in the generation prompt turn them off.
FORGETFUL = (
    "{% for message in messages %}"
    "<|im_start|> {{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and not loop.last %}"
    "{{ message['content'].split('</think>')[-1] }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant\n"
    "{% if not enable_thinking %} <think> </think> {% endif %}{% endif %}"
)

COMPACT = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<act>{{ message['content'] }}<|im_end|>"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<act>{% endif %}"
)

# Two layers with a window of 6 tokens for one with full attention, and a scale of its own.
GEMMA: dict[str, Any] = {
    "sliding_window": 6,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "query_pre_attn_scalar": 16,
}

END = 2
"""Id of the token that ends a response."""

_SPECIALS = ("<pad>", "<|im_start|>", "<|im_end|>", "<act>", "<unk>")
_WORDS = (
    "\n",
    *("<think>", "</think>", "<action>", "</action>"),
    *METALS,
    *WOODS,
    *("look", "take", "open", "key", "door", "key.", "lock.", "assistant", "user", "system"),
)


def tokenizer(template: str | None = CHATML, *, eos: str = "<|im_end|>") -> Tokenizer:
    """Make a tokenizer with one token a word and a line, for most of KeyDoor's words."""
    ids = {word: index for index, word in enumerate((*_SPECIALS, *_WORDS))}
    words = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=eos,
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<act>"],
    )
    fast.chat_template = template
    return cast(Tokenizer, fast)


def model(family: str = "qwen3", *, num_layers: int = 3, **overrides: object) -> nn.Module:
    """Make a randomly initialised model: the same one each time, with peaked distributions."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    sizes: dict[str, Any] = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
    } | overrides
    makers = {
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**sizes)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**sizes)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**sizes)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**sizes)),
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA | sizes)),
    }
    return makers[family]().eval()


def logits(causal_lm: nn.Module, token_ids: list[int]) -> torch.Tensor:
    """Compute the model's own logits at every position, in one forward without a cache."""
    with torch.no_grad():
        return causal_lm(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0]
