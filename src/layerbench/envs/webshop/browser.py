"""One shopper's way through the shop: actions to pages.

What is clicked and when is decided as in princeton-nlp/WebShop @64fa2a5.
"""

import json
import re

from layerbench.envs.webshop import pages
from layerbench.envs.webshop.goals import GoalTable
from layerbench.envs.webshop.pages import Page, Place
from layerbench.envs.webshop.reward import Reward
from layerbench.envs.webshop.shop import Shop

_ACTION = re.compile(r"(.+)\[(.+)\]")
_HOST = "http://127.0.0.1:3000"
_PAGE_NAMES = ("search_results", "item_page", "item_sub_page", "done")


class Browser:
    """Walks through the shop until something is bought.

    Args:
        shop: Shared with other shoppers.
        table: Its goals and prices.
        index: Which goal this shopper has.
        session: Name of the shopper, which is part of every address.
    """

    def __init__(self, shop: Shop, table: GoalTable, index: int, *, session: str) -> None:
        self._shop = shop
        self._prices_N = table.prices_N
        self.goal = table.goal(index, shop.product(int(table.products_G[index])))
        self._session = session
        self._start()

    page: Page
    """What is shown."""
    place: Place
    """Where that is."""
    options: dict[str, str]
    """Values chosen so far, by name, in the order of choosing."""
    seen: set[str]
    """Ids of the products that were opened since the first page."""
    reward: Reward
    """Of the purchase; there is none before."""

    @property
    def is_done(self) -> bool:
        """Whether something was bought."""
        return self.place.path == "done"

    @property
    def url(self) -> str:
        """The page's address in the original, which its mode ``url`` shows."""
        place = self.place
        if not place.path:
            return f"{_HOST}/{self._session}"
        words = "+".join(place.keywords)
        if place.path == "search_results":
            return f"{_HOST}/{place.path}/{self._session}/{words}/{place.page_number}"
        asin = self._shop.product(place.product).asin
        where = f"{_HOST}/{place.path}/{self._session}/{asin}"
        if place.path == "done":
            return f"{where}/{self.options}"
        where = f"{where}/{words}/{place.page_number}"
        if place.path == "item_page":
            return f"{where}/{json.dumps(self.options)}"
        return f"{where}/{place.label}/{self.options}"

    @property
    def anchor(self) -> str:
        """Key of the page's state: page, search, number, product and options, whatever the goal."""
        place = self.place
        asin = self._shop.product(place.product).asin if place.product >= 0 else ""
        what = [place.path, " ".join(place.keywords), place.page_number, asin, place.label]
        return json.dumps([*what, self.options], sort_keys=True)

    def act(self, action: str) -> None:
        """Do what an action says; an action that is none here leaves everything as it is."""
        assert not self.is_done, "something was bought already"
        match = _ACTION.match(action)
        if match is None:
            return
        name, argument = match[1], match[2].lower()
        if name == "search":
            self._show_results(tuple(argument.split(" ")), 1)
        elif name == "click" and argument in self.page.clickables and argument != pages.SEARCH:
            self._click(argument)

    def _click(self, clickable: str) -> None:
        place, here = self.place, self._page_name()
        if clickable == pages.BUY:
            self._go(Place("done", place.keywords, place.page_number, place.product))
        elif clickable == pages.BACK:
            self._start()
        elif clickable == pages.NEXT and here == "search_results":
            self._show_results(place.keywords, place.page_number + 1)
        elif clickable == pages.PREVIOUS and here == "search_results":
            self._show_results(place.keywords, place.page_number - 1)
        elif clickable == pages.PREVIOUS and here == "item_sub_page":
            self._show_item(place.product)
        elif clickable == pages.PREVIOUS and here == "item_page":
            self._show_results(place.keywords, place.page_number)
        elif clickable.capitalize() in pages.SUB_PAGES:
            label = clickable.capitalize()
            self._go(
                Place("item_sub_page", place.keywords, place.page_number, place.product, label)
            )
        else:
            self._choose(clickable)

    def _choose(self, clickable: str) -> None:
        """Open a product, or choose a value of an option; anything else shows the item again."""
        product = self.page.products.get(clickable, self.place.product)
        if clickable in self.page.products:
            self.seen.add(self._shop.product(product).asin)
        elif clickable in self.page.option_names:
            self.options[self.page.option_names[clickable]] = clickable
        self._show_item(product)

    def _page_name(self) -> str:
        """Name the page as the original does: by the first name that is anywhere in its address."""
        url = self.url
        return next((name for name in _PAGE_NAMES if name in url), "")

    def _start(self) -> None:
        self.options, self.seen = {}, set()
        self._go(Place())

    def _show_results(self, keywords: tuple[str, ...], page_number: int) -> None:
        self.options = {}
        self._go(Place("search_results", keywords, page_number))

    def _show_item(self, product: int) -> None:
        self._go(Place("item_page", self.place.keywords, self.place.page_number, product))

    def _go(self, place: Place) -> None:
        self.place = place
        if place.path == "done":
            self.reward = self._judge(place.product)
            asin = self._shop.product(place.product).asin
            self.page = pages.done(asin, self.options, self.reward.score)
        else:
            self.page = self._shop.page(place)

    def _judge(self, product: int) -> Reward:
        price = float(self._prices_N[product])
        return self._shop.judge(product, self.options, self.goal, price=price)
