"""A GGUF of a tiny random Llama, as llama.cpp's converter would write it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = (("a", "n"), ("an", "d"), ("\u0120", "and"))
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_HEADS, _KEY_HEADS = 4, 2
_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tokens() -> list[str]:
    """List the vocabulary in order of id: specials, bytes, merged."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*SPECIALS, *letters, *("".join(merge) for merge in MERGES)]


def model() -> LlamaForCausalLM:
    """Make the model, of 2 layers and 32 channels."""
    # Q4_1 quantises blocks of 32 numbers, so that no row can be shorter.
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    config = LlamaConfig(
        vocab_size=len(tokens()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KEY_HEADS,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def write(
    path: Path, source: LlamaForCausalLM, *, quantised: bool, arch: str = "llama"
) -> dict[str, Tensor]:
    """Write a model as a GGUF, its matrices in Q4_1 if ``quantised``.

    Returns:
        The weights that the GGUF holds, by transformers' names.
    """
    gguf: Any = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    _write_tokenizer(writer, gguf.TokenType)
    weights: dict[str, Tensor] = {}
    q4_1 = gguf.GGMLQuantizationType.Q4_1
    for name, weight in source.model.named_parameters():
        rows = _permuted(name, weight.detach().numpy())
        if quantised and rows.ndim == 2:
            packed = gguf.quantize(rows, q4_1)
            writer.add_tensor(_named(name), packed, raw_dtype=q4_1)
            rows = gguf.dequantize(packed, q4_1)
        else:
            writer.add_tensor(_named(name), rows)
        weights[name] = torch.tensor(_permuted(name, rows, back=True))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def _write_tokenizer(writer: Any, types: Any) -> None:  # noqa: ANN401 - of an extra
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens())
    normal = [types.NORMAL] * (len(tokens()) - len(SPECIALS))
    writer.add_token_types([*[types.CONTROL] * len(SPECIALS), *normal])
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)


def _named(name: str) -> str:
    last = name.removesuffix(".weight")
    if not last.startswith("layers."):
        return {"embed_tokens": "token_embd", "norm": "output_norm"}[last] + ".weight"
    _, block, inner = last.split(".", 2)
    return f"blk.{block}.{_NAMES[inner]}.weight"


def _permuted(name: str, rows: np.ndarray, *, back: bool = False) -> np.ndarray:
    """Interleave the halves of each head of queries and keys, row by row, or undo that."""
    if "q_proj" not in name and "k_proj" not in name:
        return rows
    half = 32 // _HEADS // 2
    order: list[int] = []
    for start in range(0, rows.shape[0], 2 * half):
        for offset in range(half):
            order += [start + offset, start + offset + half]
    if not back:
        return rows[order]
    restored = np.empty_like(rows)
    restored[order] = rows
    return restored
