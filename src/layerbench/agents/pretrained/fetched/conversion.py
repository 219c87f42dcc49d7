"""Converts a GGUF of the Llama family to a folder that transformers loads.

transformers reads GGUF itself, but takes half a minute for the tokenizer's merges, needs
accelerate, and refuses to save the model.
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

from layerbench.errors import UserError

# llama.cpp's names of weights to those of transformers.
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
"""Type of the special tokens, in the numbers of ``gguf.TokenType``."""


def convert(path: Path, out: Path) -> None:
    """Convert the model and the tokenizer of a GGUF to safetensors and JSON.

    Weights become float32, as they are dequantised; bfloat16 would round them.

    Args:
        path: A GGUF of architecture ``llama`` with tied embeddings, and a byte-level tokenizer
            with single digits (``smollm``).
        out: An empty folder.

    Raises:
        ImportError: The package ``gguf`` is not installed.
        UserError: The file is of another architecture.
    """
    from gguf import GGUFReader, dequantize  # noqa: PLC0415 - an extra

    reader: Any = GGUFReader(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    _check(metadata)
    config = _config(metadata)
    weights: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        rows = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        weights[_name(tensor.name)] = torch.tensor(_unpermuted(tensor.name, rows, config))
    model: Any = LlamaForCausalLM(config)
    # Into the body: a tied head has no weight of its own in the file.
    model.model.load_state_dict(weights)
    model.save_pretrained(out)
    _tokenizer(metadata).save_pretrained(out)


def _check(metadata: dict[str, Any]) -> None:
    expected = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
    }
    for name, value in expected.items():
        if metadata.get(name) != value:
            raise UserError(f"the GGUF has {name} {metadata.get(name)!r}, not {value!r}")


def _config(metadata: dict[str, Any]) -> LlamaConfig:
    heads = metadata["llama.attention.head_count"]
    # Stored in single precision: its shortest decimal is the published value.
    epsilon = float(str(np.float32(metadata["llama.attention.layer_norm_rms_epsilon"])))
    config = LlamaConfig(
        vocab_size=len(metadata["tokenizer.ggml.tokens"]),
        hidden_size=metadata["llama.embedding_length"],
        intermediate_size=metadata["llama.feed_forward_length"],
        num_hidden_layers=metadata["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=metadata["llama.attention.head_count_kv"],
        max_position_embeddings=metadata["llama.context_length"],
        rms_norm_eps=epsilon,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": float(metadata["llama.rope.freq_base"]),
        },
        tie_word_embeddings=True,
        bos_token_id=metadata["tokenizer.ggml.bos_token_id"],
        eos_token_id=metadata["tokenizer.ggml.eos_token_id"],
        pad_token_id=metadata["tokenizer.ggml.padding_token_id"],
    )
    config.dtype = torch.float32
    return config


def _name(name: str) -> str:
    """Give transformers' name of a weight of llama.cpp."""
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if block:
        return f"layers.{block[1]}.{_NAMES[block[2]]}.weight"
    return f"{_NAMES[name.removesuffix('.weight')]}.weight"


def _unpermuted(name: str, rows: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """Undo the permutation of the rows of queries and keys.

    llama.cpp's rotary embedding pairs neighbouring rows, that of transformers the two halves of a
    head, so llama.cpp's converter had interleaved the halves.
    """
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    num_heads = heads.get(name.split(".")[-2])
    if num_heads is None:
        return rows
    pairs = rows.reshape(num_heads, rows.shape[0] // num_heads // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))


def _tokenizer(metadata: dict[str, Any]) -> Any:  # noqa: ANN401 - transformers leaves it untyped
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=cast(Any, merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = list(_special(tokens, metadata["tokenizer.ggml.token_type"]))
    cast(Any, tokenizer).add_special_tokens([AddedToken(token, special=True) for token in special])
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_role_token(metadata, "bos"),
        eos_token=_role_token(metadata, "eos"),
        unk_token=_role_token(metadata, "unknown"),
        pad_token=_role_token(metadata, "padding"),
        model_max_length=metadata["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = metadata["tokenizer.chat_template"]
    return fast


def _role_token(metadata: dict[str, Any], role: str) -> str:
    return str(metadata["tokenizer.ggml.tokens"][metadata[f"tokenizer.ggml.{role}_token_id"]])


def _special(tokens: list[str], types: list[int]) -> Iterator[str]:
    for token, token_type in zip(tokens, types, strict=True):
        if token_type == _CONTROL_TOKEN:
            yield token
