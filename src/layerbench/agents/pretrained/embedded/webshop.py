"""What an embedded model for WebShop's generated catalogue is made of, beside its architecture."""

from itertools import chain

from transformers import PreTrainedTokenizerFast

from layerbench.agents.pretrained.embedded import recipe
from layerbench.envs.webshop.catalogue import synthetic_words

# Brands tell products apart that nobody asks to be told apart; the others are said everywhere.
_FILLERS = "find me with for and to the a an of by click search price"
_PAGE_WORDS = (
    "page prev next back buy now description features reviews limit style color size scent fit "
    "type flavor name thank you shopping us"
)
_MOST_PAGES = 9
_PRICES = range(10, 410, 10)

CONTEXT = 2048
"""Ten turns can show six pages of results, of about 130 tokens each."""


def vocabulary() -> list[str]:
    """List the words the model knows, in order of token id."""
    said = list(_PAGE_WORDS.split())
    for department in synthetic_words.DEPARTMENTS.values():
        kinds = [*chain.from_iterable(department.kinds.values())]
        said += [*kinds, *map(synthetic_words.plural, kinds)]
        said += [*department.qualities, *department.parts, *department.uses]
    said += [
        *synthetic_words.ID_STARTS,
        *synthetic_words.ID_ENDS,
        *chain.from_iterable(synthetic_words.OPTION_VALUES.values()),
    ]
    words = {word for phrase in said for word in phrase.replace("-", " ").split()}
    numbers = [str(number) for number in (*range(1, _MOST_PAGES + 1), *_PRICES)]
    return [*recipe.SPECIALS, *sorted(words - set(_FILLERS.split())), *numbers]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: brands and fillers are left out."""
    brands = [brand.lower() for brand in synthetic_words.BRANDS]
    return recipe.word_tokenizer(
        vocabulary(), fillers=[*_FILLERS.split(), *brands], context=CONTEXT
    )
