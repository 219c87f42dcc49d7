"""The shop, shared by all environments of a process: products, search, pages and goals.

A shop never changes. Its large data are memory-mapped files, which processes share as well.
"""

import functools
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs.cache import make_once
from layerbench.envs.types import TaskSource
from layerbench.envs.webshop import goals, pages, reward
from layerbench.envs.webshop.catalogue import index, synthetic
from layerbench.envs.webshop.catalogue.nouns import LazyNouns
from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.goals import Goal, GoalTable
from layerbench.envs.webshop.pages import Address, Page
from layerbench.envs.webshop.reward import Reward
from layerbench.envs.webshop.row_file import Rows
from layerbench.envs.webshop.search import bm25, postings

MAX_RESULTS = 50
"""Largest number of results of a search; searches by a prefix have no limit."""

# Searches with these prefixes look at one field instead of the text.
_FIELDS = {"<a>": "attribute", "<c>": "category", "<q>": "query"}
_RANDOM = "<r>"
# Sizes of the caches. Episodes of a group repeat searches and pages.
_CACHED_PRODUCTS, _CACHED_SEARCHES, _CACHED_PAGES, _CACHED_TABLES = 1024, 4096, 1024, 4


@dataclass(frozen=True, slots=True)
class ShopRules:
    """The rules of a shop, independent of its catalogue.

    Attributes:
        strict_upstream: See ``reward.judge``.
        show_attributes: Whether products have a page of their attributes.
    """

    strict_upstream: bool = True
    show_attributes: bool = False


class Shop:
    """A shop that sells the products of a catalogue.

    Args:
        folder: The catalogue's index, as written by ``catalogue.index.build``.
        rules: The rules of the shop.
    """

    def __init__(self, folder: Path, rules: ShopRules) -> None:
        self._folder = folder
        self._rules = rules
        self._rows = Rows(folder / index.PRODUCTS)
        self._search = bm25.load(folder / index.SEARCH)
        self._fields = postings.load(folder / index.FIELDS)
        # Cached per shop: a decorated method's cache would keep every shop alive.
        self.product = functools.lru_cache(_CACHED_PRODUCTS)(self._product)
        self.find = functools.lru_cache(_CACHED_SEARCHES)(self._find)
        self.page = functools.lru_cache(_CACHED_PAGES)(self._page)
        self.table = functools.lru_cache(_CACHED_TABLES)(self._table)
        # Nouns of a product's title by the product's number. A large catalogue's index has none.
        nouns_file = folder / index.NOUNS
        self.nouns: Callable[[int], Sequence[str]] = (
            Rows(nouns_file).__getitem__ if nouns_file.exists() else self._lazy_nouns()
        )

    def __len__(self) -> int:
        return len(self._rows)

    def judge(self, number: int, chosen: Mapping[str, str], goal: Goal, *, price: float) -> Reward:
        """Compute the reward of a purchase.

        Args:
            number: Number of the product that was bought.
            chosen: The chosen option values by name.
            goal: The goal.
            price: The product's price, in dollars.
        """
        return reward.judge(
            self.product(number),
            chosen,
            price,
            goal,
            title_share=reward.title_share(self.nouns(number), self.nouns(goal.product)),
            strict_upstream=self._rules.strict_upstream,
        )

    def _product(self, number: int) -> Product:
        """Read a product by its number, from 0 in the catalogue's order."""
        return index.from_row(self._rows[number])

    def _find(self, keywords: tuple[str, ...]) -> tuple[int, ...]:
        """Find the numbers of products by their text, or by the field of a prefix.

        ``<r>`` draws products at random, with the words after it as the seed.
        """
        first, rest = keywords[0], " ".join(keywords[1:]).strip()
        if first == _RANDOM:
            count = min(MAX_RESULTS, len(self))
            return tuple(random.Random(rest).sample(range(len(self)), count))
        if first in _FIELDS:
            # The original takes one word alone for a category.
            value = keywords[1].strip() if first == "<c>" and rest else rest
            products, _ = self._fields.find(index.field_key(_FIELDS[first], value))
            return tuple(products.tolist())
        return self._search.search(" ".join(keywords), count=MAX_RESULTS).documents

    def _page(self, address: Address) -> Page:
        """Make the page at an address, except the page after a purchase."""
        if not address.path:
            return pages.index()
        if address.path == "search_results":
            products = self.find(address.keywords)
            last = address.page_number * pages.RESULTS_A_PAGE
            shown = products[last - pages.RESULTS_A_PAGE : last]
            return pages.results(
                {number: self.product(number) for number in shown},
                number=address.page_number,
                total=len(products),
            )
        product = self.product(address.product)
        if address.path == "item_page":
            return pages.item(product, show_attributes=self._rules.show_attributes)
        return pages.sub_page(product, address.label)

    def _table(self, source: str, seed: int, order_seed: int) -> GoalTable:
        """Map prices and goals from the index's folder, drawn at first use; see ``goals.draw``."""
        folder = self._folder / "goals" / f"{source}-{seed}-{order_seed}"

        def draw(empty: Path) -> None:
            products = (self._product(number) for number in range(len(self)))
            goals.draw(products, source=source, seed=seed, order_seed=order_seed).save(empty)

        make_once(folder, draw)
        return goals.load(folder, source)

    def _lazy_nouns(self) -> LazyNouns:
        return LazyNouns(self._folder / "nouns-found.jsonl", lambda n: self.product(n).title)


def open_shop(data_dir: str | os.PathLike[str] | None, rules: ShopRules) -> Shop:
    """Open a shop, and build the catalogue's index at first use.

    Args:
        data_dir: Folder of a published catalogue; None for the generated one.
        rules: The rules of the shop.

    Raises:
        ValueError: The catalogue is missing or malformed, or the cache cannot be written.
    """
    return _open(_index_folder(data_dir), rules)


def source_of(data_dir: str | os.PathLike[str] | None, *, with_human: bool) -> TaskSource:
    """Name a catalogue: ``webshop-synth``, or ``webshop`` with the hash of a published one.

    Args:
        data_dir: As for ``open_shop``.
        with_human: Whether goals are made of the instructions that people wrote.

    Raises:
        ValueError: As ``open_shop``.
    """
    if not data_dir:
        return TaskSource(synthetic.SOURCE)
    digest = index.deciding_hash(_index_folder(data_dir), with_human=with_human)
    return TaskSource("webshop", sha256=digest)


def _index_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    return index.ensure_published(Path(data_dir).expanduser()) if data_dir else _synthetic_index()


_synthetic_index = functools.cache(synthetic.ensure_index)


@functools.lru_cache(maxsize=8)
def _open(folder: Path, rules: ShopRules) -> Shop:
    return Shop(folder, rules)
