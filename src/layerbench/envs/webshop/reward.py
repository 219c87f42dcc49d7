"""What a purchase is worth (Yao et al. 2022, section 3.1), as the published code computes it."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.fuzz import token_set_ratio
from rapidfuzz.utils import default_process

from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.goals import Goal

_ALIKE = 85
# The matching library drops these before it compares.
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
"""Words by which option values are taken to be equal colours."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A purchase, judged.

    Attributes:
        type_factor: 1, 0.5, 0.1 or 0: how far it is the kind of thing that was asked for.
        query_match: It was found by the same query as the goal's product.
        category_match: Its path shares two levels with that of the goal's product.
        title_share: Share of the nouns in the title of the goal's product that are in its title.
        attributes: How many of the goal's attributes it has.
        options: How many of the goal's options were chosen.
        in_budget: It costs no more than the limit.
        num_attributes: Of the goal.
        num_options: Of the goal.
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
        met = self.attributes + self.options + self.in_budget
        return met / (self.num_attributes + self.num_options + 1) * self.type_factor


def judge(
    product: Product,
    chosen: Mapping[str, str],
    price: float,
    goal: Goal,
    *,
    title_share: float,
    strict_upstream: bool,
) -> Reward:
    """Judge a purchase.

    Args:
        product: What was bought.
        chosen: Values of its options by name; others were left open.
        price: What it costs, in dollars.
        goal: What was asked for.
        title_share: See ``title_share`` below.
        strict_upstream: Compare named options as the published code does, which takes name and
            value together as one text, so that a colour is seldom reduced to its word; False
            compares values alone.
    """
    query_match = product.query == goal.query
    category_match = len(_levels(product.product_category) & _levels(goal.product_category)) > 1
    wanted = [_wanted(name, value, strict_upstream) for name, value in goal.options]
    return Reward(
        type_factor=_type_factor(title_share, alike=query_match or category_match),
        query_match=query_match,
        category_match=category_match,
        title_share=title_share,
        attributes=sum(_has(product, attribute) for attribute in goal.attributes),
        options=_num_chosen(map(normal_color, chosen.values()), wanted),
        in_budget=price <= goal.price_limit,
        num_attributes=len(goal.attributes),
        num_options=len(goal.options),
    )


def title_share(bought: Sequence[str], wanted: Sequence[str]) -> float:
    """Give the share of the wanted title's nouns, repeats counted, that the bought one has.

    A title without nouns counts as 0.2.
    """
    return len(set(bought) & set(wanted)) / len(wanted) if wanted else 0.2


def _levels(product_category: str) -> set[str]:
    return {level.strip() for level in product_category.split("\u203a")}


def _type_factor(title_share: float, *, alike: bool) -> float:
    if title_share == 0:
        return 0.0
    if title_share < 0.1:
        return 0.1
    return 1.0 if alike or title_share > 0.2 else 0.5


def _has(product: Product, attribute: str) -> bool:
    return any(_are_alike(known, attribute) for known in product.attributes) or any(
        attribute in text.lower()
        for text in (product.title, " ".join(product.bullets), product.description)
    )


def _wanted(name: str, value: str, strict_upstream: bool) -> str:
    """Give the text that a chosen value is compared with."""
    if not (name and strict_upstream):
        return normal_color(value)
    # The published code looks for a word in the pair of both, so it must be all of one of them.
    return next((word for word in COLORS if word in (name, value)), str((name, value)))


def _num_chosen(chosen: Iterable[str], wanted: Iterable[str]) -> int:
    values = list(chosen)
    return sum(any(_are_alike(value, text) for value in values) for text in wanted)


@functools.lru_cache(maxsize=100_000)
def _are_alike(one: str, other: str) -> bool:
    texts = (default_process(text.translate(_NOT_ASCII)) for text in (one, other))
    return round(token_set_ratio(*texts)) > _ALIKE


def normal_color(value: str) -> str:
    """Give the first of the words that a value contains, or the value itself.

    >>> normal_color("charcoal heather (light)"), normal_color("38w x 30l")
    ('charcoal', '38w x 30l')
    """
    return next((word for word in COLORS if word in value), value)
