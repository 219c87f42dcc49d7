"""Recipe of the embedded models: tokenizer and architecture.

``layerbench pretrain embedded`` trained the weights beside this file from it.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from layerbench.agents.pretrained.embedded import vocabulary

PAD, BOS, ACT, EOS, UNKNOWN = "<pad>", "<bos>", "<act>", "<eos>", "<unk>"
SPECIALS = (PAD, BOS, ACT, EOS, UNKNOWN)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first %}" + BOS + "{% endif %}"
    "{% if message['role'] == 'assistant' %}" + ACT + "{{ message['content'] }}" + EOS + ""
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ACT + "{% endif %}"
)

# Signs of more than one character, as words.
_COMPARISONS = ((">=", "atleast"), ("<=", "atmost"), ("==", "equals"), ("!=", "differs"))
_OTHERS = rf"[^a-z0-9\s{re.escape(''.join(vocabulary.OPERATORS))}]"

NUM_LAYERS = 20
WIDTH = 64
_MLP_WIDTH = 128
_NUM_HEADS = 2
CONTEXT = 2048


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: an object's class and number are separate tokens."""
    return word_tokenizer(
        [*SPECIALS, *vocabulary.words()], fillers=vocabulary.fillers(), context=CONTEXT
    )


def word_tokenizer(
    words: Sequence[str], *, fillers: Sequence[str], context: int
) -> PreTrainedTokenizerFast:
    """Build a word-level tokenizer: lower case, no punctuation but operators between spaces.

    Args:
        words: The vocabulary in order of token id, ``SPECIALS`` first.
        fillers: Words that are dropped from the text.
        context: Context length of the model, in tokens.
    """
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    filler_pattern = "|".join(sorted(map(re.escape, fillers)))
    # Lower case first, then punctuation: the patterns after it know neither. Special tokens are cut
    # out of the text before, or they would lose their brackets.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            *(normalizers.Replace(Regex(rf"(?<!\S){o}(?!\S)"), w) for o, w in _COMPARISONS),
            # The sign of a number is an operator, the hyphen of a word is none.
            normalizers.Replace(Regex("(?<![a-z0-9])-(?=[0-9])"), " - "),
            normalizers.Replace(Regex(rf"(?<=\S)[^a-z0-9\s]|[^a-z0-9\s](?=\S)|{_OTHERS}"), " "),
            normalizers.Replace(Regex(rf"\b(?:{filler_pattern})\b"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return chat_tokenizer(tokenizer, context=context)


def chat_tokenizer(tokenizer: Tokenizer, *, context: int) -> PreTrainedTokenizerFast:
    """Give a tokenizer with the tokens ``SPECIALS`` the embedded models' chat template."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[ACT],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Qwen3ForCausalLM:
    """Build the untrained model.

    Residual branches start scaled by 1/sqrt(2L), as in GPT-2, without which many narrow
    layers train badly.
    """
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=_MLP_WIDTH,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=_NUM_HEADS,
        num_key_value_heads=_NUM_HEADS,
        head_dim=WIDTH // _NUM_HEADS,
        max_position_embeddings=int(cast(Any, tokenizer).model_max_length),
        tie_word_embeddings=True,
        initializer_range=0.08,
        pad_token_id=SPECIALS.index(PAD),
        bos_token_id=SPECIALS.index(BOS),
        eos_token_id=SPECIALS.index(EOS),
        use_cache=True,
    )
    model = Qwen3ForCausalLM(config)
    scale = 1 / math.sqrt(2 * NUM_LAYERS)
    for block in cast(Any, model).model.layers:
        for projection in (block.self_attn.o_proj, block.mlp.down_proj):
            projection.weight.data.mul_(scale)
    return model
