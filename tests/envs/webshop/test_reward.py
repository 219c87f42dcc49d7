"""Purchases are worth what the original pays for them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from layerbench.envs.webshop import colors, goals, reward
from layerbench.envs.webshop.catalogue import Product
from layerbench.envs.webshop.goals import Goal, GoalTable
from layerbench.envs.webshop.reward import Reward
from tests.envs.webshop.conftest import oracle
from tests.shared_data import shared


def as_recorded(judged: Reward) -> dict[str, Any]:
    """Write the parts of a reward as the original does."""
    parts = judged.num_attributes + judged.num_options + 1
    recorded = {
        "r_type": judged.type_factor,
        "r_att": judged.attributes / judged.num_attributes,
        "w_att": judged.num_attributes / parts,
        "query_match": judged.query_match,
        "category_match": judged.category_match,
        "title_score": judged.title_share,
        "r_price": judged.in_budget,
        "w_price": 1 / parts,
    }
    if judged.num_options:
        recorded["r_option"] = judged.options / judged.num_options
        recorded["w_option"] = judged.num_options / parts
    return recorded


@pytest.mark.parametrize(
    ("source", "file", "count"),
    [("synthetic", "rewards.json.gz", 3000), ("human", "rewards_human.json.gz", 600)],
)
def test_every_recorded_reward_and_its_parts_are_ours(
    source: str, file: str, count: int, products: list[Product]
) -> None:
    table = goals.draw(products, source=source, seed=0, order_seed=233)
    by_asin = {product.asin: product for product in products}
    nouns = oracle("product_nouns.json")
    recorded = oracle(file)
    assert len(recorded) == count
    for case in recorded:
        index = case["goal_idx"]
        judged = reward.judge(
            by_asin[case["asin"]],
            case["options"],
            case["price"],
            table.goal(index, products[int(table.products_G[index])]),
            nouns=nouns.__getitem__,
            strict_upstream=True,
        )
        assert judged.score == case["reward"]
        assert as_recorded(judged) == case["info"]


def num_won_by_exact_purchase(
    table: GoalTable, products: list[Product], *, strict_upstream: bool
) -> int:
    nouns = oracle("product_nouns.json")
    won = 0
    for index in range(len(table)):
        number = int(table.products_G[index])
        goal = table.goal(index, products[number])
        judged = reward.judge(
            products[number],
            dict(goal.options),
            float(table.prices_N[number]),
            goal,
            nouns=nouns.__getitem__,
            strict_upstream=strict_upstream,
        )
        won += judged.score == 1
    return won


def test_the_original_refuses_some_exact_purchases(products: list[Product]) -> None:
    table = goals.draw(products, source="synthetic", seed=0, order_seed=233)
    # 93.4 % of 6910.
    assert num_won_by_exact_purchase(table, products, strict_upstream=True) == 6452
    assert num_won_by_exact_purchase(table, products, strict_upstream=False) == 6910


def test_colour_words_are_the_originals_in_its_order() -> None:
    recorded = json.loads(shared("data", "webshop", "color_words.json").read_text())
    assert list(colors.WORDS) == recorded


def product_of(title: str, **changes: Any) -> Product:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {
        "asin": "A", "category": "garden", "query": "lamps", "title": title,
        "product_category": "Home \u203a Lamps",
        "description": "", "bullets": ("",), "attributes": (), "prices": (5.0,),
        "price_tag": "$5.0", "options": {}, "wish": None, "human_wishes": (),
    }  # fmt: skip
    return Product(**(fields | changes))


def goal_of(title: str, *, attributes: Sequence[str] = ("small",)) -> Goal:
    return Goal(
        product=0, category="garden", query="chairs", product_category="Home \u203a Chairs",
        title=title, instruction="", attributes=tuple(attributes), options=(), price_limit=10.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bought", "factor"),
    # Shares of the nouns a to l: none; 1 of 12 = 0.08; 2 of 12 = 0.17; 3 of 12 = 0.25.
    [("z", 0.0), ("a", 0.1), ("a b", 0.5), ("a b c", 1.0)],
)
def test_the_kind_of_thing_is_judged_by_the_nouns_of_its_title(bought: str, factor: float) -> None:
    judged = reward.judge(
        product_of(bought), {}, 5.0, goal_of("a b c d e f g h i j k l"),
        nouns=str.split, strict_upstream=True,
    )  # fmt: skip
    assert judged.type_factor == factor
    # No attribute, no option; the price is met: 1 of 2.
    assert judged.score == factor / 2


def test_the_same_query_makes_up_for_a_title_that_shares_little() -> None:
    judged = reward.judge(
        product_of("a b", query="chairs"), {}, 5.0, goal_of("a b c d e f g h i j k l"),
        nouns=str.split, strict_upstream=True,
    )  # fmt: skip
    assert judged.type_factor == 1.0


@pytest.mark.parametrize(
    ("changes", "has"),
    [({"attributes": ("small size",)}, 1), ({"title": "a SMALL lamp"}, 1),
     ({"bullets": ("big", "not small")}, 1), ({"description": "Smaller"}, 1), ({}, 0)],
)  # fmt: skip
def test_an_attribute_is_known_or_told_anywhere(changes: dict[str, Any], has: int) -> None:
    product = product_of(**{"title": "a lamp", **changes})
    judged = reward.judge(
        product, {}, 20.0, goal_of("a lamp"), nouns=str.split, strict_upstream=True
    )
    assert judged.attributes == has
    assert judged.score == has / 2  # It is over budget.
