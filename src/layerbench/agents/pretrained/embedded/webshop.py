"""Vocabulary and tokenizer of the embedded model for WebShop's generated catalogue."""

from itertools import chain

from transformers import PreTrainedTokenizerFast

from layerbench.agents.pretrained.embedded import recipe
from layerbench.envs.webshop.catalogue import synthetic_words

# Words of every page or instruction, which carry no information.
_FILLERS = "find me with for and to the a an of by click search price"
_PAGE_WORDS = (
    "page prev next back buy now description features reviews limit style color size scent fit "
    "type flavor name thank you shopping us"
)
_MAX_PAGE = 9
# Whole tens of dollars, to which ``CompactWebShopStyle`` rounds all prices.
_PRICES = range(10, 410, 10)

CONTEXT = 2048
"""Ten turns can show six pages of results, of about 130 tokens each."""


def vocabulary() -> list[str]:
    """List the words of the model, in order of token id."""
    phrases = list(_PAGE_WORDS.split())
    for department in synthetic_words.DEPARTMENTS.values():
        products = [*chain.from_iterable(department.kinds.values())]
        phrases += [*products, *map(synthetic_words.plural, products)]
        phrases += [*department.qualities, *department.parts, *department.uses]
    phrases += [
        *synthetic_words.ID_STARTS,
        *synthetic_words.ID_ENDS,
        *chain.from_iterable(synthetic_words.OPTION_VALUES.values()),
    ]
    # The tokenizer's normaliser makes a hyphen a space, so that the parts are words of their own.
    words = {word for phrase in phrases for word in phrase.replace("-", " ").split()}
    numbers = [str(number) for number in (*range(1, _MAX_PAGE + 1), *_PRICES)]
    return [*recipe.SPECIALS, *sorted(words - set(_FILLERS.split())), *numbers]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer, which drops brands and fillers."""
    # No instruction asks for a brand.
    brands = [brand.lower() for brand in synthetic_words.BRANDS]
    return recipe.word_tokenizer(
        vocabulary(), fillers=[*_FILLERS.split(), *brands], context=CONTEXT
    )
