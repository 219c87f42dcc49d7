"""Goals: the instructions of episodes, with price limits, and the prices of products.

Prices, price limits and the order of goals are drawn by the same calls of Python's generator, in
the same order, as in princeton-nlp/WebShop, so that a seed gives the same goals.

Shapes: N products, G goals.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32

from layerbench.envs.webshop.catalogue.published import Instruction, Product
from layerbench.envs.webshop.row_file import mapped

SOURCES = ("synthetic", "human")
"""``synthetic``: one goal for each combination of a product's options; ``human``: by people."""

NO_LIMIT = 1_000_000.0
# Price limits in dollars: 10, 20, ..., 990.
_LIMITS = tuple(10.0 * step for step in range(1, 100))
_NEAREST_LIMITS = 4


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of an episode.

    Attributes:
        product: Number of the product from which the goal was made.
        category: The product's category; see ``Product`` for this and the next three.
        query: The product's query.
        product_category: The product's path of categories.
        title: The product's title.
        instruction: The sentence that the agent reads.
        attributes: Attributes that the purchase must have.
        options: Name and value of each option that must be chosen; names are empty in human
            goals.
        price_limit: Highest price, in dollars.
    """

    product: int
    category: str
    query: str
    product_category: str
    title: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    price_limit: float


@dataclass(frozen=True, slots=True)
class GoalTable:
    """All goals of a catalogue in order, and its prices.

    Attributes:
        source: One of ``SOURCES``.
        prices_N: Each product's price, in dollars.
        products_G: Number of each goal's product.
        variants_G: Number of each goal among its product's goals, from 0.
        limits_G: Price limits, in dollars; ``NO_LIMIT`` if there is none.
    """

    source: str
    prices_N: Float64[np.ndarray, " N"]
    products_G: Int32[np.ndarray, " G"]
    variants_G: Int32[np.ndarray, " G"]
    limits_G: Float64[np.ndarray, " G"]

    def __len__(self) -> int:
        return len(self.products_G)

    def goal(self, index: int, product: Product) -> Goal:
        """Make one goal.

        Args:
            index: The goal's index, from 0.
            product: The product at ``products_G[index]``.
        """
        variant, limit = int(self.variants_G[index]), float(self.limits_G[index])
        human = self.source == "human"
        instruction, options = (_human if human else _synthetic)(product, variant)
        named = ", and ".join(f"{name}: {value}" for name, value in options if name)
        with_options = f" with {named}" if named else ""
        with_limit = "" if limit == NO_LIMIT else f", and price lower than {limit:.2f} dollars"
        return Goal(
            product=int(self.products_G[index]),
            category=product.category,
            query=product.query,
            product_category=product.product_category,
            title=product.title,
            instruction=f"{instruction.text}{with_options}{with_limit}",
            attributes=instruction.attributes,
            options=options,
            price_limit=limit,
        )

    def save(self, folder: Path) -> None:
        """Write each array to a file in an existing folder."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))


_ARRAYS = ("prices_N", "products_G", "variants_G", "limits_G")


def load(folder: Path, source: str) -> GoalTable:
    """Map a table from a folder of ``GoalTable.save``."""
    return GoalTable(source, *(mapped(folder / f"{name}.npy") for name in _ARRAYS))


def draw(products: Iterable[Product], *, source: str, seed: int, order_seed: int) -> GoalTable:
    """Draw prices, then price limits, then the order of the goals.

    Args:
        products: The catalogue, in order.
        source: One of ``SOURCES``.
        seed: Seed of prices and limits, which are unseeded in the original.
        order_seed: Seed of the order; 233 in the original.
    """
    rng = random.Random(seed)
    prices: list[float] = []
    batches: list[_Batch] = []
    for number, product in enumerate(products):
        low, high = product.prices[0], product.prices[-1]
        # A draw for ranges alone, as in the original: one more would shift all later draws.
        prices.append(rng.uniform(low, high) if len(product.prices) > 1 else low)
        batches += _batches(number, product, source)
    # A batch has one limit, drawn once, as in the original; it expands to ``size`` goals.
    limits = [_limit(prices[batch.product], rng) for batch in batches]
    sizes = np.array([batch.size for batch in batches], dtype=np.int64)
    order = list(range(int(sizes.sum())))
    random.Random(order_seed).shuffle(order)
    ends = np.cumsum(sizes)
    # Whole arrays at once: the full catalogue has eight million synthetic goals.
    of_batch = np.repeat(np.arange(len(batches)), sizes)[order]
    firsts = np.array([batch.first for batch in batches], dtype=np.int64) - (ends - sizes)
    return GoalTable(
        source=source,
        prices_N=np.array(prices, dtype=np.float64),
        products_G=np.array([batch.product for batch in batches], dtype=np.int32)[of_batch],
        variants_G=(np.array(order, dtype=np.int64) + firsts[of_batch]).astype(np.int32),
        limits_G=np.array(limits, dtype=np.float64)[of_batch],
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """The goals of one instruction, which share a price limit.

    Attributes:
        product: Number of the product.
        first: Number of the first goal among the product's goals.
        size: Number of goals.
    """

    product: int
    first: int
    size: int


def _batches(number: int, product: Product, source: str) -> list[_Batch]:
    if source == "human":
        return [_Batch(number, variant, 1) for variant in range(len(product.human_instructions))]
    if product.instruction is None:
        return []
    # One goal without options: the product of no numbers is 1.
    size = prod(len(values) for values in product.options.values())
    return [_Batch(number, 0, size)]


def _limit(price: float, rng: random.Random) -> float:
    """Draw two of the four nearest limits above the price, and return the higher one."""
    nearest = [limit for limit in _LIMITS if limit > price][:_NEAREST_LIMITS]
    return max(rng.sample(nearest, 2)) if len(nearest) > 1 else NO_LIMIT


def _human(product: Product, variant: int) -> tuple[Instruction, tuple[tuple[str, str], ...]]:
    instruction = product.human_instructions[variant]
    return instruction, tuple(("", value) for value in instruction.options)


def _synthetic(product: Product, variant: int) -> tuple[Instruction, tuple[tuple[str, str], ...]]:
    """Return a combination of options: the alphabetically last name changes fastest."""
    assert product.instruction is not None, "without an instruction there are no synthetic goals"
    chosen: list[tuple[str, str]] = []
    for name in sorted(product.options, reverse=True):
        variant, number = divmod(variant, len(product.options[name]))
        chosen.append((name, product.options[name][number]))
    return product.instruction, tuple(reversed(chosen))
