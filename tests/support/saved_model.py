"""A random model of a few thousand parameters with KeyDoor's vocabulary."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from layerbench.envs.keydoor.env import METALS, WOODS

_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<act> {{ message['content'] }} <eos>"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<act>{% endif %}"
)


def save(folder: Path, *, seed: int = 0, num_layers: int = 2, head_dim: int = 8) -> Path:
    """Save the model and its tokenizer in the format of transformers."""
    specials = ["<pad>", "<act>", "<eos>", "<unk>"]
    words = [
        *METALS,
        *WOODS,
        *("look", "take", "open", "you", "see", "hold", "a", "the", "key", "door", "lock", "with"),
    ]
    ids = {word: index for index, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eos>",
        pad_token="<pad>",
        # No token of unknown words is declared, so that it may play any environment.
        additional_special_tokens=["<act>"],
        chat_template=_TEMPLATE,
    )
    fast.save_pretrained(folder)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
    config = Qwen3Config(
        vocab_size=len(ids),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=ids["<eos>"],
        pad_token_id=ids["<pad>"],
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)  # pyright: ignore
    return folder
