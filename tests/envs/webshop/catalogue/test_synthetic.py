"""The synthetic catalogue has the published one's statistics, and goals of medium difficulty."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs.webshop.catalogue import published, synthetic, synthetic_words
from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.env import WebShopEnv, list_tasks
from layerbench.envs.webshop.reward import normal_color
from layerbench.envs.webshop.shop import ShopRules, open_shop

NUM_EPISODES = 200


@pytest.fixture(scope="module")
def catalogue_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    synthetic.write(folder, num_products=1000, seed=0)
    return folder


@pytest.fixture(scope="module")
def generated(catalogue_dir: Path) -> list[Product]:
    return list(published.read(published.find_files(catalogue_dir)))


def test_categories_options_and_instructions_are_as_many_as_published(
    generated: list[Product],
) -> None:
    assert Counter(product.category for product in generated) == {
        "beauty": 238, "electronics": 229, "garden": 216, "fashion": 200, "grocery": 117
    }  # fmt: skip
    assert Counter(len(p.options) for p in generated) == {0: 577, 1: 245, 2: 165, 3: 13}
    assert sum(product.instruction is not None for product in generated) == 415
    assert len({product.asin for product in generated}) == 1000


def test_the_catalogue_is_what_its_version_says(catalogue_dir: Path) -> None:
    # Scores on another text are other scores: change VERSION along with this.
    names = ("items_shuffle_1000.json", "items_ins_v2_1000.json", published.NOUNS_FILE)
    text = b"".join((catalogue_dir / name).read_bytes() for name in names)
    assert (synthetic.VERSION, hashlib.sha256(text).hexdigest()[:16]) == (1, "2365607013fe6edc")


def test_another_seed_and_size_give_another_catalogue(tmp_path: Path, catalogue_dir: Path) -> None:
    synthetic.write(tmp_path, num_products=40, seed=1)
    products = list(published.read(published.find_files(tmp_path)))
    assert len(products) == 40
    assert set(synthetic_words.DEPARTMENTS) == {product.category for product in products}
    titles = {product.title for product in published.read(published.find_files(catalogue_dir))}
    assert not {product.title for product in products} <= titles


def test_large_catalogues_name_products_by_number(tmp_path: Path) -> None:
    synthetic.write(tmp_path, num_products=1100, seed=0)
    products = list(published.read(published.find_files(tmp_path)))
    assert len({product.asin for product in products}) == 1100
    assert products[7].asin == "S000000007"


def test_what_an_instruction_asks_for_is_known_of_its_product(
    generated: list[Product],
) -> None:
    for product in generated:
        if product.instruction is not None:
            assert set(product.instruction.attributes) <= set(product.attributes)
            assert all(
                attribute in product.instruction.text
                for attribute in product.instruction.attributes
            )


def test_no_two_values_of_an_option_count_as_the_same_colour(
    generated: list[Product],
) -> None:
    for product in generated:
        for values in product.options.values():
            assert len({normal_color(value) for value in values}) == len(values)


def test_every_title_has_nouns(catalogue_dir: Path, generated: list[Product]) -> None:
    shop = open_shop(catalogue_dir, ShopRules())
    for number, product in enumerate(generated):
        assert set(shop.nouns(number)) <= set(product.title.lower().replace(",", "").split())
        assert len(shop.nouns(number)) >= 2


Policy = Callable[[dict[str, Any], random.Random], str]


def choose_at_random(info: dict[str, Any], rng: random.Random) -> str:
    return rng.choice(info["choices"])


def search_open_choose_buy(info: dict[str, Any], _rng: random.Random) -> str:
    """Search by the whole instruction, open the first result, choose the named options, buy."""
    if info["has_search_bar"]:
        return info["choices"][0]
    if "buy now" not in info["clickables"]:
        return f"click[{info['clickables'][2]}]"
    clauses = info["instruction"].split(" with ")[-1].split(", and ")
    values = [clause.partition(": ")[2] for clause in clauses]
    named = [value for value in info["clickables"][6:] if value in values]
    left = [value for value in named if f'"{value}"' not in info["anchor"]]
    return f"click[{left[0]}]" if left else "click[buy now]"


def success_rate(policy: Policy) -> float:
    env = WebShopEnv()
    won = 0
    for task in list_tasks(split="train", count=NUM_EPISODES, seed=0):
        _, info = env.reset(options=dict(task.options))
        rng = random.Random(task.task_id)
        over = False
        while not over:
            _, _, done, truncated, info = env.step(policy(info, rng))
            over = done or truncated
        won += info["success"]
    return won / NUM_EPISODES


def test_random_choices_buy_almost_nothing_right() -> None:
    assert success_rate(choose_at_random) <= 0.02


def test_buying_the_first_result_is_right_about_every_other_time() -> None:
    assert 0.4 <= success_rate(search_open_choose_buy) <= 0.7


def test_buying_exactly_what_the_goal_was_made_from_is_right() -> None:
    shop = open_shop(None, ShopRules())
    table = shop.table("synthetic", 0, 233)
    for index in range(0, len(table), 7):
        number = int(table.products_G[index])
        goal = table.goal(index, shop.product(number))
        price = float(table.prices_N[number])
        assert shop.judge(number, dict(goal.options), goal, price=price).score == 1.0
