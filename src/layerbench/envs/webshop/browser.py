"""A browsing session: actions lead to pages, as in princeton-nlp/WebShop @64fa2a5."""

import json
from dataclasses import replace

from layerbench.envs.actions import with_argument
from layerbench.envs.webshop import pages
from layerbench.envs.webshop.goals import GoalTable
from layerbench.envs.webshop.pages import Address, Page
from layerbench.envs.webshop.reward import Reward
from layerbench.envs.webshop.shop import Shop

_HOST = "http://127.0.0.1:3000"
_PAGE_NAMES = ("search_results", "item_page", "item_sub_page", "done")


class Browser:
    """One browsing session, which ends with a purchase.

    Args:
        shop: The shop, shared with other sessions.
        table: The shop's goals and prices.
        index: Index of the session's goal.
        session: Name of the session, which is part of every URL.
    """

    def __init__(self, shop: Shop, table: GoalTable, index: int, *, session: str) -> None:
        self._shop = shop
        self._prices_N = table.prices_N
        self.goal = table.goal(index, shop.product(int(table.products_G[index])))
        self._session = session
        self._start()

    page: Page
    """The current page."""
    address: Address
    """The current page's address."""
    options: dict[str, str]
    """Option values chosen so far, by name, in the order of choosing."""
    opened: set[str]
    """Ids of the products opened since the first page."""
    reward: Reward
    """The reward of the purchase; unset before."""

    @property
    def is_done(self) -> bool:
        """Whether the purchase was made."""
        return self.address.path == "done"

    @property
    def url(self) -> str:
        """The page's URL in the original, which is the observation in its mode ``url``."""
        address = self.address
        if not address.path:
            return f"{_HOST}/{self._session}"
        words = "+".join(address.keywords)
        if address.path == "search_results":
            return f"{_HOST}/{address.path}/{self._session}/{words}/{address.page_number}"
        asin = self._shop.product(address.product).asin
        url = f"{_HOST}/{address.path}/{self._session}/{asin}"
        if address.path == "done":
            return f"{url}/{self.options}"
        url = f"{url}/{words}/{address.page_number}"
        if address.path == "item_page":
            return f"{url}/{json.dumps(self.options)}"
        return f"{url}/{address.label}/{self.options}"

    @property
    def anchor(self) -> str:
        """Key of the state: the address and the chosen options, independent of the goal."""
        address = self.address
        asin = self._shop.product(address.product).asin if address.product >= 0 else ""
        parts = [address.path, " ".join(address.keywords), address.page_number, asin, address.label]
        return json.dumps([*parts, self.options], sort_keys=True)

    def act(self, action: str) -> None:
        """Carry out an action; an invalid one changes nothing."""
        assert not self.is_done, "something was bought already"
        name, argument = with_argument(action)
        if name == "search":
            # As in the original, empty words are kept.
            self._show_results(tuple(argument.split(" ")), 1)
        elif name == "click" and argument in self.page.clickables and argument != pages.SEARCH:
            self._click(argument)

    def _click(self, clickable: str) -> None:
        address, name = self.address, self._page_name()
        if clickable == pages.BUY:
            self._go(Address("done", address.keywords, address.page_number, address.product))
        elif clickable == pages.BACK:
            self._start()
        elif clickable == pages.NEXT and name == "search_results":
            self._show_results(address.keywords, address.page_number + 1)
        elif clickable == pages.PREVIOUS and name == "search_results":
            self._show_results(address.keywords, address.page_number - 1)
        elif clickable == pages.PREVIOUS and name == "item_sub_page":
            self._show_item(address.product)
        elif clickable == pages.PREVIOUS and name == "item_page":
            self._show_results(address.keywords, address.page_number)
        elif clickable.capitalize() in pages.SUB_PAGES:
            label = clickable.capitalize()
            self._go(replace(address, path="item_sub_page", label=label))
        else:
            self._choose(clickable)

    def _choose(self, clickable: str) -> None:
        """Open a product or choose an option's value; any other text shows the item page again."""
        product = self.page.products.get(clickable, self.address.product)
        if clickable in self.page.products:
            self.opened.add(self._shop.product(product).asin)
        elif clickable in self.page.option_names:
            self.options[self.page.option_names[clickable]] = clickable
        self._show_item(product)

    def _page_name(self) -> str:
        """Return the page's name as the original does: the first name found anywhere in the URL."""
        # Not the same as the path: keywords and option values are in the URL too.
        url = self.url
        return next((name for name in _PAGE_NAMES if name in url), "")

    def _start(self) -> None:
        self.options, self.opened = {}, set()
        self._go(Address())

    def _show_results(self, keywords: tuple[str, ...], page_number: int) -> None:
        self.options = {}
        self._go(Address("search_results", keywords, page_number))

    def _show_item(self, product: int) -> None:
        self._go(Address("item_page", self.address.keywords, self.address.page_number, product))

    def _go(self, address: Address) -> None:
        self.address = address
        if address.path == "done":
            self.reward = self._judge(address.product)
            asin = self._shop.product(address.product).asin
            self.page = pages.done(asin, self.options, self.reward.score)
        else:
            self.page = self._shop.page(address)

    def _judge(self, product: int) -> Reward:
        price = float(self._prices_N[product])
        return self._shop.judge(product, self.options, self.goal, price=price)
