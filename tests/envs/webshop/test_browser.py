"""Every recorded step on the original leads to the same page here."""

from pathlib import Path
from typing import Any

import pytest

from layerbench.envs.webshop import pages
from layerbench.envs.webshop.browser import Browser
from layerbench.envs.webshop.catalogue import index
from layerbench.envs.webshop.goals import GoalTable
from layerbench.envs.webshop.shop import Shop, ShopRules
from tests.envs.webshop.conftest import oracle


@pytest.fixture(scope="module")
def shop(official_data: Path) -> Shop:
    return Shop(index.ensure_published(official_data), ShopRules())


@pytest.fixture(scope="module")
def table(shop: Shop) -> GoalTable:
    return shop.table("synthetic", 0, 233)


def as_shown(browser: Browser, mode: str) -> str | None:
    """Return the observation in a mode of the original; None for HTML, which ours lacks."""
    instruction = browser.goal.instruction
    if mode == "text":
        return pages.plain_text(browser.page, instruction)
    if mode == "text_rich":
        return pages.rich_text(browser.page, instruction, opened=browser.opened, url=browser.url)
    return browser.url if mode == "url" else None


def state(browser: Browser, mode: str) -> dict[str, Any]:
    return {
        "obs": as_shown(browser, mode),
        "reward": browser.reward.score if browser.is_done else 0.0,
        "done": browser.is_done,
        "avail": {
            "has_search_bar": browser.page.has_search_bar,
            "clickables": list(browser.page.clickables),
        },
    }


@pytest.mark.parametrize(
    ("mode", "episodes", "steps"),
    [("text", 153, 1468), ("text_rich", 32, 335), ("url", 5, 52), ("html", 8, 79)],
)
def test_every_recorded_step_is_ours(
    mode: str, episodes: int, steps: int, shop: Shop, table: GoalTable
) -> None:
    recorded = [episode for episode in oracle("episodes.jsonl.gz") if episode["mode"] == mode]
    assert len(recorded) == episodes
    compared = 0
    for episode in recorded:
        # URLs alone contain the session's name.
        session = episode["init_obs"].rpartition("/")[2] if mode == "url" else "name"
        browser = Browser(shop, table, episode["goal_idx"], session=session)
        if mode != "html":
            assert as_shown(browser, mode) == episode["init_obs"]
        for step in episode["steps"]:
            browser.act(step["action"])
            expected = {name: step[name] for name in ("obs", "reward", "done", "avail")}
            assert state(browser, mode) == (
                expected | {"obs": None} if mode == "html" else expected
            )
            compared += 1
    assert compared == steps


def walk(shop: Shop, table: GoalTable, *actions: str) -> Browser:
    browser = Browser(shop, table, 1, session="name")
    for action in actions:
        browser.act(action)
    return browser


def test_a_search_by_attribute_finds_what_has_it(shop: Shop, table: GoalTable) -> None:
    numbers = shop.find(("<a>", "tea", "tree"))
    assert numbers
    assert all("tea tree" in shop.product(number).attributes for number in numbers)
    assert "Total results: " in as_text(walk(shop, table, "search[<a> tea tree]"))


def as_text(browser: Browser) -> str:
    return str(as_shown(browser, "text"))


def test_a_random_search_is_the_same_for_the_same_words(shop: Shop) -> None:
    assert len(set(shop.find(("<r>",)))) == 50
    assert shop.find(("<r>", "7")) == shop.find(("<r>", "7"))
    assert shop.find(("<r>", "7")) != shop.find(("<r>", "8"))


@pytest.mark.parametrize("prefix", ["<c>", "<q>", "<a>"])
def test_a_prefix_without_a_value_finds_nothing(prefix: str, shop: Shop) -> None:
    assert shop.find((prefix,)) == ()


def test_attributes_have_a_page_where_they_are_shown(official_data: Path) -> None:
    shop = Shop(index.ensure_published(official_data), ShopRules(show_attributes=True))
    table = shop.table("synthetic", 0, 233)
    browser = walk(shop, table, "search[lamp]")
    browser.act(f"click[{browser.page.clickables[2]}]")
    product = shop.product(browser.address.product)
    assert browser.page.clickables[5:7] == ("attributes", "buy now")
    browser.act("click[attributes]")
    assert as_text(browser).endswith(
        f"{product.category} [SEP] {product.query} [SEP] {product.product_category}"
    )
    assert browser.url.partition("/item_sub_page/")[2].startswith(f"name/{product.asin}/lamp/1/A")
