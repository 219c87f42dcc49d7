"""Goals and prices are those of the original for the same seed."""

import hashlib
import json
from typing import Any

import pytest

from layerbench.envs.webshop import goals
from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.goals import NO_LIMIT, GoalTable
from tests.envs.webshop.conftest import oracle


def as_recorded(table: GoalTable, index: int, products: list[Product]) -> dict[str, Any]:
    """Write a goal as the original does."""
    product = products[int(table.products_G[index])]
    goal = table.goal(index, product)
    return {
        "asin": product.asin,
        "category": goal.category,
        "query": goal.query,
        "name": goal.title,
        "product_category": goal.product_category,
        "instruction_text": goal.instruction,
        "attributes": list(goal.attributes),
        "price_upper": int(NO_LIMIT) if goal.price_limit == NO_LIMIT else goal.price_limit,
        "goal_options": dict(goal.options)
        if table.source == "synthetic"
        else [value for _, value in goal.options],
    }


@pytest.mark.parametrize(
    ("source", "file", "count"),
    [
        ("synthetic", "goals_synthetic_upstream_seed0.json.gz", 6910),
        ("human", "goals_human_seed0.json", 13),
    ],
)
def test_every_recorded_goal_is_ours(
    source: str, file: str, count: int, products: list[Product]
) -> None:
    table = goals.draw(products, source=source, seed=0, order_seed=233)
    recorded = oracle(file)["goals"]
    assert len(table) == len(recorded) == count
    for index, goal in enumerate(recorded):
        # The original also weighs goals by rarity, for its own draws; ours are uniform.
        del goal["weight"]
        assert as_recorded(table, index, products) == goal


def test_every_recorded_price_is_ours(products: list[Product]) -> None:
    table = goals.draw(products, source="synthetic", seed=0, order_seed=233)
    recorded = oracle("product_prices_seed0.json")
    assert {p.asin: price for p, price in zip(products, table.prices_N, strict=True)} == recorded


@pytest.mark.parametrize("seed", [0, 1, 1000, 1001])
def test_the_orders_of_verl_agents_workers_are_ours(seed: int, products: list[Product]) -> None:
    table = goals.draw(products, source="synthetic", seed=seed, order_seed=seed)
    written = [as_recorded(table, index, products) for index in range(len(table))]
    listed = [
        [goal["asin"], goal["goal_options"], goal["price_upper"], goal["instruction_text"]]
        for goal in written
    ]
    recorded = oracle("goals_verlagent_seeds.json")[str(seed)]
    assert hashlib.sha256(json.dumps(listed).encode()).hexdigest() == recorded["sha256_all"]
