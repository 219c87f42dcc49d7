"""Tokenizer of the embedded model for any environment: bytes, and frequent pieces of English."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from layerbench.agents.pretrained.embedded import recipe

SIZE = 1024
CONTEXT = 8192


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the pieces (byte-pair encoding) from texts; what they lack is written in bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[*recipe.SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return recipe.chat_tokenizer(tokenizer, context=CONTEXT)
