"""Splits of the goals into train, eval and test."""

import hashlib
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerbench.envs.choices import check_known
from layerbench.envs.webshop.goals import SOURCES, GoalTable
from layerbench.envs.webshop.shop import Shop
from layerbench.errors import UserError

SCHEMES = ("upstream", "verl_agent", "product_disjoint")
"""``upstream``: by index, as WebShop's authors do; test products also occur in train, with other
options. ``verl_agent``: as GiGPO's authors do. ``product_disjoint``: no product is in two splits.
"""

PRICE_SEED, ORDER_SEED = 0, 233
"""Seeds of prices and limits, which are unseeded in the original, and of the goals' order."""

_TEST_END, _EVAL_END = 500, 1500
_VERL_AGENT_SEEDS = {"train": 0, "eval": 1000}
# Tenths of the products, by a hash: one is for test, one for eval, eight are for train.
_PARTS = 10
_PARTS_OF = {"test": (0,), "eval": (1,), "train": tuple(range(2, _PARTS))}


@dataclass(frozen=True, slots=True)
class Split:
    """The goals of one split.

    Attributes:
        worker_seed: The seed of a worker of verl-agent that draws these goals, or -1.
        indices: The goals' indices, ascending.
    """

    worker_seed: int
    indices: Sequence[int]


def table_of(shop: Shop, source: str, *, worker_seed: int = -1) -> GoalTable:
    """Return a shop's prices and goals.

    Args:
        shop: The shop.
        source: One of ``goals.SOURCES``.
        worker_seed: Seed of a worker of verl-agent, which draws prices and order by the same seed;
            -1 for the default seeds.

    Raises:
        UserError: The source is unknown, or the catalogue has no goals of it.
    """
    check_known("goal_source", source, SOURCES)
    seeds = (PRICE_SEED, ORDER_SEED) if worker_seed < 0 else (worker_seed, worker_seed)
    table = shop.table(source, *seeds)
    if not len(table):
        raise UserError(f"this catalogue has no {source} goals")
    return table


def check_split(split: str, *, scheme: str) -> None:
    """Refuse a split that a scheme does not have.

    Raises:
        UserError: The split is unknown; the message lists the splits.
    """
    known = tuple(_VERL_AGENT_SEEDS) if scheme == "verl_agent" else tuple(_PARTS_OF)
    if split not in known:
        raise UserError(f"webshop has no split '{split}': {scheme} has {', '.join(known)}")


def split_of(shop: Shop, *, scheme: str, source: str, split: str) -> Split:
    """Return the goals of a split.

    Raises:
        UserError: The scheme, source or split is unknown, or the split is empty.
    """
    check_known("split_scheme", scheme, SCHEMES)
    check_split(split, scheme=scheme)
    if scheme == "verl_agent":
        goals = _verl_agent(shop, source, split)
    else:
        table = table_of(shop, source)
        by_product = scheme == "product_disjoint"
        indices = _by_product(shop, table, split) if by_product else _by_index(len(table), split)
        goals = Split(-1, indices)
    if not goals.indices:
        raise UserError(f"split '{split}' of {scheme} is empty: there are too few {source} goals")
    return goals


def choose(split: Split, *, count: int | None, seed: int) -> list[int]:
    """Draw distinct goals in an order fixed by the seed; a short list begins a longer one.

    Raises:
        UserError: The split has fewer goals.
    """
    if count is not None and not 0 < count <= len(split.indices):
        raise UserError(f"the split has {len(split.indices)} goals, so {count} cannot be chosen")
    order = list(split.indices)
    random.Random(f"goals|{seed}").shuffle(order)
    return order[:count]


def _by_index(count: int, split: str) -> Sequence[int]:
    ranges = {"test": (0, _TEST_END), "eval": (_TEST_END, _EVAL_END), "train": (_EVAL_END, count)}
    first, end = ranges[split]
    # A small catalogue has fewer goals than the fixed bounds.
    return range(min(first, count), min(end, count))


def _by_product(shop: Shop, table: GoalTable, split: str) -> Sequence[int]:
    """Split products by a hash of their id, so that a product is in the same split everywhere."""
    products = [
        number
        for number in np.unique(table.products_G).tolist()
        if _part(shop.product(number).asin) in _PARTS_OF[split]
    ]
    return np.flatnonzero(np.isin(table.products_G, products)).tolist()


def _part(asin: str) -> int:
    return int.from_bytes(hashlib.sha256(asin.encode()).digest()[:8], "big") % _PARTS


def _verl_agent(shop: Shop, source: str, split: str) -> Split:
    warnings.warn(
        "split_scheme verl_agent is for comparison only: its workers shuffle the goals by seeds of "
        "their own, so that training has seen most of the goals it is scored on",
        stacklevel=3,
    )
    seed = _VERL_AGENT_SEEDS[split]
    # Each worker shuffles by its own seed: the same indices are other goals in the two splits.
    count = len(table_of(shop, source, worker_seed=seed))
    first, end = (0, _TEST_END) if split == "eval" else (_TEST_END, count)
    return Split(seed, range(min(first, count), min(end, count)))
