"""Purchases are worth what the original pays for them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from layerbench.envs.webshop import goals, reward
from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.goals import Goal, GoalTable
from layerbench.envs.webshop.reward import Reward
from tests.envs.webshop.conftest import oracle
from tests.support.shared_data import shared
from tests.support.webshop_products import product_of


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
        product = by_asin[case["asin"]]
        goal = table.goal(index, products[int(table.products_G[index])])
        judged = reward.judge(
            product,
            case["options"],
            case["price"],
            goal,
            title_share=reward.title_share(nouns[product.title], nouns[goal.title]),
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
            title_share=reward.title_share(nouns[goal.title], nouns[goal.title]),
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
    assert list(reward.COLORS) == recorded


def goal_of(title: str, *, attributes: Sequence[str] = ("small",)) -> Goal:
    return Goal(
        product=0, category="garden", query="chairs", product_category="Home \u203a Chairs",
        title=title, instruction="", attributes=tuple(attributes), options=(), price_limit=10.0,
    )  # fmt: skip


def score_of(product: Product, goal: Goal, *, price: float = 5.0) -> tuple[float, float]:
    """Judge a purchase whose title's words are all nouns; give the factor and the score."""
    share = reward.title_share(product.title.split(), goal.title.split())
    judged = reward.judge(product, {}, price, goal, title_share=share, strict_upstream=True)
    return judged.type_factor, judged.score


@pytest.mark.parametrize(
    ("bought", "factor"),
    # Shares of the nouns a to l: none; 1 of 12 = 0.08; 2 of 12 = 0.17; 3 of 12 = 0.25.
    [("z", 0.0), ("a", 0.1), ("a b", 0.5), ("a b c", 1.0)],
)
def test_the_kind_of_thing_is_judged_by_the_nouns_of_its_title(bought: str, factor: float) -> None:
    # No attribute, no option; the price is met: 1 of 2.
    assert score_of(product_of(bought), goal_of("a b c d e f g h i j k l")) == (factor, factor / 2)


def test_the_same_query_makes_up_for_a_title_that_shares_little() -> None:
    product = product_of("a b", query="chairs")
    assert score_of(product, goal_of("a b c d e f g h i j k l"))[0] == 1.0


def test_a_title_without_nouns_shares_a_fifth() -> None:
    assert reward.title_share(["lamp"], []) == 0.2


@pytest.mark.parametrize(
    ("changes", "has"),
    [({"attributes": ("small size",)}, 1), ({"title": "lamp SMALL"}, 1),
     ({"bullets": ("big", "not small")}, 1), ({"description": "Smaller"}, 1), ({}, 0)],
)  # fmt: skip
def test_an_attribute_is_known_or_told_anywhere(changes: dict[str, Any], has: int) -> None:
    product = product_of(**{"title": "lamp", **changes})
    # Over budget: all there is to score is the attribute, 1 of 2.
    assert score_of(product, goal_of("lamp"), price=20.0)[1] == has / 2
