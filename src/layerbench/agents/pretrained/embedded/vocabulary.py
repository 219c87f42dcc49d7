"""Words of the embedded model: those of ALFWorld, WebShop, mathematics and code."""

from collections.abc import Iterable, Iterator
from itertools import chain

from layerbench.envs.alfworld import scenes
from layerbench.envs.webshop.catalogue import synthetic_words

OPERATORS = ("+", "-", "*", "/", "%", "=", "(", ")", "<", ">")
"""Kept where they stand by themselves: ``7 + 5``, but not the hyphen of ``long-lasting``."""

# Words that carry no information here; without them a transcript is half as long.
_FILLERS = (
    "a an the you your it its is are of in on to at from with using some them and under that this "
    "see what there re s find me for by click search price"
)
_ALFWORLD = (
    "room task put place two look examine clean heat cool hot cold light take move go open close "
    "closed opened use inventory help slice sliced arrive pick up turn off carrying not anything "
    "nothing happens special about normal happy facing next middle looking quickly around into "
    "available commands"
)
_WEBSHOP = (
    "page prev next back buy now description features reviews limit style color size scent fit "
    "type flavor name thank shopping us"
)
_MATH = "compute solve x base calculator calculate answer right wrong"
# ``atleast`` and the like are what the tokenizer makes of comparisons.
_CODE = (
    "code none now task x xs sorted reverse true list reversed set sum max min len if return tests "
    "pass double triple halve square add subtract every item items reduce modulo keep even odd "
    "above below drop equal sort upwards downwards without repeats first then largest smallest "
    "number error low high empty examples gives program lines equals differs"
)
_MAX_NUMBER = 99
# Whole tens of dollars, to which ``CompactWebShopStyle`` rounds all prices.
_PRICES = range(100, 410, 10)


def fillers() -> list[str]:
    """List the words that are dropped from a text; no instruction of WebShop asks for a brand."""
    return [*_FILLERS.split(), *map(str.lower, synthetic_words.BRANDS)]


def words() -> list[str]:
    """List all words in order of token id, those apart that the tokenizer adds by itself."""
    listed = {*_ALFWORLD.split(), *_WEBSHOP.split(), *_MATH.split(), *_CODE.split()}
    listed |= {*_things(), *_products()}
    numbers = [str(number) for number in (*range(_MAX_NUMBER + 1), *_PRICES)]
    return [*sorted(listed - set(fillers())), *numbers, *OPERATORS]


def product_ids() -> list[str]:
    """List the words that the ids of products are made of."""
    return [*synthetic_words.ID_STARTS, *synthetic_words.ID_ENDS]


def _things() -> Iterator[str]:
    yield from (name.lower() for name in scenes.constants().OBJECTS)
    yield from (name.lower() for name in scenes.receptacle_kinds())


def _products() -> Iterator[str]:
    phrases: list[Iterable[str]] = [product_ids(), *synthetic_words.OPTION_VALUES.values()]
    for department in synthetic_words.DEPARTMENTS.values():
        products = [*chain.from_iterable(department.kinds.values())]
        phrases += [products, map(synthetic_words.plural, products)]
        phrases += [department.qualities, department.parts, department.uses]
    for phrase in chain.from_iterable(phrases):
        # The tokenizer makes a hyphen a space, so that the parts are words of their own.
        yield from phrase.replace("-", " ").split()
