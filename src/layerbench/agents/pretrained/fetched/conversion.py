"""A GGUF of the Llama family to a folder that transformers loads.

transformers can read GGUF itself, but takes half a minute for the merges of the tokenizer, needs
accelerate, and refuses to save what it read.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3
"""Kind of token that no text is split into, as ``gguf.TokenType`` numbers them."""


def convert(path: Path, out: Path) -> None:
    """Write the model and the tokenizer of a GGUF as safetensors and JSON.

    Weights become float32, which is what dequantising gives; bfloat16 would round them.

    Args:
        path: Of architecture ``llama`` with tied embeddings, and a byte-level tokenizer that takes
            digits apart (``smollm``).
        out: An empty folder.

    Raises:
        ImportError: The package ``gguf`` is not installed.
        ValueError: The file is of another architecture.
    """
    from gguf import GGUFReader, dequantize  # noqa: PLC0415 - an extra

    reader: Any = GGUFReader(path)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    _check(facts)
    config = _config(facts)
    weights: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        rows = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        weights[_name(tensor.name)] = torch.tensor(_unpermuted(tensor.name, rows, config))
    model: Any = LlamaForCausalLM(config)
    model.model.load_state_dict(weights)
    model.save_pretrained(out)
    _tokenizer(facts).save_pretrained(out)


def _check(facts: dict[str, Any]) -> None:
    wanted = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
    }
    for name, value in wanted.items():
        if facts.get(name) != value:
            raise ValueError(f"the GGUF has {name} {facts.get(name)!r}, not {value!r}")


def _config(facts: dict[str, Any]) -> LlamaConfig:
    heads = facts["llama.attention.head_count"]
    # Stored in single precision: its shortest spelling is what was meant.
    epsilon = float(str(np.float32(facts["llama.attention.layer_norm_rms_epsilon"])))
    config = LlamaConfig(
        vocab_size=len(facts["tokenizer.ggml.tokens"]),
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=epsilon,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": float(facts["llama.rope.freq_base"]),
        },
        tie_word_embeddings=True,
        bos_token_id=facts["tokenizer.ggml.bos_token_id"],
        eos_token_id=facts["tokenizer.ggml.eos_token_id"],
        pad_token_id=facts["tokenizer.ggml.padding_token_id"],
    )
    config.dtype = torch.float32
    return config


def _name(name: str) -> str:
    """Give the name that transformers has for a weight of llama.cpp."""
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if block:
        return f"layers.{block[1]}.{_NAMES[block[2]]}.weight"
    return f"{_NAMES[name.removesuffix('.weight')]}.weight"


def _unpermuted(name: str, rows: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """Put the rows of queries and keys back as they were.

    llama.cpp rotates neighbours, transformers the two halves of a head, so its converter had
    interleaved them.
    """
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return rows
    pairs = rows.reshape(count, rows.shape[0] // count // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))


def _tokenizer(facts: dict[str, Any]) -> Any:  # noqa: ANN401 - transformers leaves it untyped
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=cast(Any, merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = list(_special(tokens, facts["tokenizer.ggml.token_type"]))
    cast(Any, tokenizer).add_special_tokens([AddedToken(token, special=True) for token in special])
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_named(facts, "bos"),
        eos_token=_named(facts, "eos"),
        unk_token=_named(facts, "unknown"),
        pad_token=_named(facts, "padding"),
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = facts["tokenizer.chat_template"]
    return fast


def _named(facts: dict[str, Any], role: str) -> str:
    return str(facts["tokenizer.ggml.tokens"][facts[f"tokenizer.ggml.{role}_token_id"]])


def _special(tokens: list[str], kinds: list[int]) -> Iterator[str]:
    for token, kind in zip(tokens, kinds, strict=True):
        if kind == _CONTROL_TOKEN:
            yield token
