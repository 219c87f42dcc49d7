"""The reward of a purchase (Yao et al. 2022, section 3.1), as the published code computes it."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.fuzz import token_set_ratio
from rapidfuzz.utils import default_process

from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.goals import Goal

# Similarity above which the published code takes texts as equal, from 0 to 100.
_SIMILARITY_THRESHOLD = 85
# The original's library (thefuzz) drops these before it compares; ours (rapidfuzz) does not.
_NOT_ASCII = dict.fromkeys(range(128, 256))

# The list of princeton-nlp/WebShop @64fa2a5, web_agent_site/engine/normalize.py, in its order.
_COLOR_WORDS = (
    "alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown "
    "burgundy camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee "
    "cognac copper coral cranberry cream crystal dark denim eggplant elephant espresso fuchsia "
    "gold granite grape graphite grass gray green grey heather indigo ivory ivy khaki lavender "
    "lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor "
    "mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red "
    "rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower "
    "tan taupe teal tiger turquoise violet walnut wheat white wine yellow"
)
COLORS = tuple(_COLOR_WORDS.split())
"""Colour words; option values with the same first one count as equal."""


@dataclass(frozen=True, slots=True)
class Reward:
    """The reward of a purchase and its parts.

    Attributes:
        type_factor: Agreement of the kind of product with the goal: 1, 0.5, 0.1 or 0.
        query_match: Its query is that of the goal's product.
        category_match: Its category path shares two levels with that of the goal's product.
        title_share: Share of the nouns of the goal's title that are in its title.
        attributes: Number of the goal's attributes that it has.
        options: Number of the goal's options that were chosen.
        in_budget: Its price is at most the limit.
        num_attributes: Number of the goal's attributes.
        num_options: Number of the goal's options.
    """

    type_factor: float
    query_match: bool
    category_match: bool
    title_share: float
    attributes: int
    options: int
    in_budget: bool
    num_attributes: int
    num_options: int

    @property
    def score(self) -> float:
        """The reward, in [0, 1]."""
        points = self.attributes + self.options + self.in_budget
        return points / (self.num_attributes + self.num_options + 1) * self.type_factor


def judge(
    product: Product,
    chosen: Mapping[str, str],
    price: float,
    goal: Goal,
    *,
    title_share: float,
    strict_upstream: bool,
) -> Reward:
    """Compute the reward of a purchase.

    Args:
        product: The product that was bought.
        chosen: The chosen option values by name; other options were left open.
        price: The product's price, in dollars.
        goal: The goal.
        title_share: Result of the function ``title_share``.
        strict_upstream: Compare named options as the published code does: it takes name and value
            as one text, so that a colour is seldom reduced to its word. False compares values
            alone.
    """
    query_match = product.query == goal.query
    category_match = len(_levels(product.product_category) & _levels(goal.product_category)) > 1
    targets = [_option_text(name, value, strict_upstream) for name, value in goal.options]
    return Reward(
        type_factor=_type_factor(title_share, matches=query_match or category_match),
        query_match=query_match,
        category_match=category_match,
        title_share=title_share,
        attributes=sum(_has(product, attribute) for attribute in goal.attributes),
        options=_num_chosen(map(normal_color, chosen.values()), targets),
        in_budget=price <= goal.price_limit,
        num_attributes=len(goal.attributes),
        num_options=len(goal.options),
    )


def title_share(bought: Sequence[str], target: Sequence[str]) -> float:
    """Return the share of the target title's nouns that are in the bought product's title.

    Repeated nouns count in the denominator alone, as in the published code. A target title without
    nouns gives 0.2.
    """
    return len(set(bought) & set(target)) / len(target) if target else 0.2


def _levels(product_category: str) -> set[str]:
    return {level.strip() for level in product_category.split("\u203a")}


def _type_factor(title_share: float, *, matches: bool) -> float:
    if title_share == 0:
        return 0.0
    if title_share < 0.1:
        return 0.1
    return 1.0 if matches or title_share > 0.2 else 0.5


def _has(product: Product, attribute: str) -> bool:
    return any(_are_similar(listed, attribute) for listed in product.attributes) or any(
        attribute in text.lower()
        for text in (product.title, " ".join(product.bullets), product.description)
    )


def _option_text(name: str, value: str, strict_upstream: bool) -> str:
    """Return the text with which chosen values are compared."""
    if not (name and strict_upstream):
        return normal_color(value)
    # The published code looks for a colour in the tuple (name, value) instead of in the value, and
    # so finds only a value or name that is nothing but a colour.
    return next((word for word in COLORS if word in (name, value)), str((name, value)))


def _num_chosen(chosen: Iterable[str], targets: Iterable[str]) -> int:
    values = list(chosen)
    return sum(any(_are_similar(value, target) for value in values) for target in targets)


@functools.lru_cache(maxsize=100_000)
def _are_similar(first: str, second: str) -> bool:
    texts = (default_process(text.translate(_NOT_ASCII)) for text in (first, second))
    return round(token_set_ratio(*texts)) > _SIMILARITY_THRESHOLD


def normal_color(value: str) -> str:
    """Return the first word of ``COLORS`` that a value contains, or the value itself.

    >>> normal_color("charcoal heather (light)"), normal_color("38w x 30l")
    ('charcoal', '38w x 30l')
    """
    return next((word for word in COLORS if word in value), value)
