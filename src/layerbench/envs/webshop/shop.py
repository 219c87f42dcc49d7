"""The shop that all environments of a process share: products, search, prices and goals.

It never changes. All that is large lies in files that are mapped into memory, so that processes
share it too.
"""

import functools
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs.cache import make_once
from layerbench.envs.webshop import goals, pages, reward
from layerbench.envs.webshop.catalogue import index, synthetic
from layerbench.envs.webshop.catalogue.nouns import LazyNouns
from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.goals import Goal, GoalTable
from layerbench.envs.webshop.pages import Page, Place
from layerbench.envs.webshop.reward import Reward
from layerbench.envs.webshop.row_file import Rows
from layerbench.envs.webshop.search import bm25, postings

FOUND_AT_MOST = 50
"""Products that a search finds; searches by a prefix find all there are."""

# Searches by these look at one field instead of all text.
_FIELDS = {"<a>": "attribute", "<c>": "category", "<q>": "query"}
_RANDOM = "<r>"
_KEPT_PRODUCTS, _KEPT_SEARCHES, _KEPT_PAGES, _KEPT_TABLES = 1024, 4096, 1024, 4


@dataclass(frozen=True, slots=True)
class ShopRules:
    """How a shop is run, whatever it sells.

    Attributes:
        strict_upstream: See ``reward.judge``.
        show_attributes: Products have a page of their attributes.
    """

    strict_upstream: bool = True
    show_attributes: bool = False


class Shop:
    """A catalogue in use.

    Args:
        folder: As ``stock.fill`` filled it.
        rules: How it is run.
    """

    def __init__(self, folder: Path, rules: ShopRules) -> None:
        self._folder = folder
        self._rules = rules
        self._rows = Rows(folder / index.PRODUCTS)
        self._search = bm25.load(folder / index.SEARCH)
        self._fields = postings.load(folder / index.FIELDS)
        # Not decorated: a decorated method would keep every shop alive.
        self.product = functools.lru_cache(_KEPT_PRODUCTS)(self._product)
        self.find = functools.lru_cache(_KEPT_SEARCHES)(self._find)
        self.page = functools.lru_cache(_KEPT_PAGES)(self._page)
        self.table = functools.lru_cache(_KEPT_TABLES)(self._table)
        # Of titles, by the number of the product.
        tagged = folder / index.NOUNS
        self.nouns: Callable[[int], Sequence[str]] = (
            Rows(tagged).__getitem__ if tagged.exists() else self._lazy_nouns()
        )

    def __len__(self) -> int:
        return len(self._rows)

    def judge(self, number: int, chosen: Mapping[str, str], goal: Goal, *, price: float) -> Reward:
        """Judge a purchase.

        Args:
            number: Of what was bought.
            chosen: Values of its options by name.
            goal: What was asked for.
            price: What it costs, in dollars.
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
        """Find products: by their text, or by what a prefix says.

        ``<r>`` finds products at random, the same for the same words after it.
        """
        first, rest = keywords[0], " ".join(keywords[1:]).strip()
        if first == _RANDOM:
            count = min(FOUND_AT_MOST, len(self))
            return tuple(random.Random(rest).sample(range(len(self)), count))
        if first in _FIELDS:
            # The original takes but one word for a category.
            wanted = keywords[1].strip() if first == "<c>" and rest else rest
            found, _ = self._fields.find(index.field_key(_FIELDS[first], wanted))
            return tuple(found.tolist())
        return self._search.search(" ".join(keywords), count=FOUND_AT_MOST).documents

    def _page(self, place: Place) -> Page:
        """Make the page at a place; not for the page after a purchase."""
        if not place.path:
            return pages.index()
        if place.path == "search_results":
            found = self.find(place.keywords)
            last = place.page_number * pages.RESULTS_A_PAGE
            shown = found[last - pages.RESULTS_A_PAGE : last]
            return pages.results(
                {number: self.product(number) for number in shown},
                number=place.page_number,
                total=len(found),
            )
        product = self.product(place.product)
        if place.path == "item_page":
            return pages.item(product, show_attributes=self._rules.show_attributes)
        return pages.sub_page(product, place.label)

    def _table(self, source: str, seed: int, order_seed: int) -> GoalTable:
        """Draw prices and goals, or map those that were drawn before; see ``goals.draw``."""
        folder = self._folder / "goals" / f"{source}-{seed}-{order_seed}"

        def draw(empty: Path) -> None:
            products = (self._product(number) for number in range(len(self)))
            goals.draw(products, source=source, seed=seed, order_seed=order_seed).save(empty)

        make_once(folder, draw)
        return goals.load(folder, source)

    def _lazy_nouns(self) -> LazyNouns:
        return LazyNouns(self._folder / "nouns-found.jsonl", lambda n: self.product(n).title)


def open_shop(data_dir: str | os.PathLike[str] | None, rules: ShopRules) -> Shop:
    """Open a shop, and fill the folder it needs the first time.

    Args:
        data_dir: Folder of a published catalogue; None for the generated one.
        rules: How the shop is run.

    Raises:
        ValueError: The catalogue is not there, or not what it should be, or the cache cannot be
            written.
    """
    return _open(_folder_of(data_dir), rules)


def source_of(data_dir: str | os.PathLike[str] | None) -> str:
    """Name a catalogue: ``webshop-synth``, or ``webshop-`` and the hash of a published one.

    Raises:
        ValueError: As ``open_shop``.
    """
    return str(index.about(_folder_of(data_dir))["source"])


def _folder_of(data_dir: str | os.PathLike[str] | None) -> Path:
    if data_dir:
        return _official(Path(data_dir).expanduser().resolve())
    return synthetic.ensure_index()


# The files of a running process are taken not to change.
_official = functools.lru_cache(maxsize=8)(index.ensure_published)


@functools.lru_cache(maxsize=8)
def _open(folder: Path, rules: ShopRules) -> Shop:
    return Shop(folder, rules)
