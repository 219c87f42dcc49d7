"""Vocabulary and tokenizer of the embedded model for KeyDoor, in ``choose`` and in ``generate``."""

import re
from typing import Any, cast

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from layerbench.agents import prompts
from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.types import ActionMode
from layerbench.envs.keydoor.env import METALS, WOODS
from layerbench.envs.keydoor.spec import SPEC

TAGS = ("<think>", "</think>", "<action>", "</action>")

# Words that carry no information in KeyDoor.
_FILLERS = "a the you and with"
_SENTENCE_WORDS = "room task see hold key door lock look take open opens nothing happens"
# Those around past turns: see ``ChatStyle.window``.
_WINDOW_WORDS = "possible actions turn now saw did how episode began"
_MAX_TURN = 10


def vocabulary() -> list[str]:
    """List the words of the model, in order of token id."""
    words = {*METALS, *WOODS, *_SENTENCE_WORDS.split(), *_WINDOW_WORDS.split()}
    for mode in ActionMode:
        words |= {
            *re.findall(
                "[a-z]+", prompts.style(prompts.CHAT, mode, rules=SPEC.rules).system.lower()
            )
        }
    numbers = [str(number) for number in range(1, _MAX_TURN + 1)]
    return [*recipe.SPECIALS, *TAGS, *sorted(words - {*_FILLERS.split()}), *numbers]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer, which can write the form of an answer in free text."""
    tokenizer = recipe.word_tokenizer(
        vocabulary(), fillers=_FILLERS.split(), context=recipe.CONTEXT
    )
    cast(Any, tokenizer).add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    return tokenizer
