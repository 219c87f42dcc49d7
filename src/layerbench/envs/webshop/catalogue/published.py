"""Products, from the three files that WebShop's authors publish."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.envs.webshop.catalogue.json_stream import read_array, read_object

HUMAN_FILE = "items_human_ins.json"
NOUNS_FILE = "product_nouns.json"
"""Nouns of the titles: not published, but taken where it lies beside the others."""

_SETS = (
    ("items_shuffle_1000.json", "items_ins_v2_1000.json"),
    ("items_shuffle.json", "items_ins_v2.json"),
)
_LONGEST_ASIN = 10
_NO_PRICE = 100.0
_NO_ATTRIBUTES = ("DUMMY_ATTR",)


class CatalogueError(ValueError):
    """The files are missing, or are not what they should be."""


@dataclass(frozen=True, slots=True)
class CatalogueFiles:
    """Where a catalogue is read from.

    Attributes:
        products: A JSON array of products.
        attributes: A JSON object: attributes and an instruction by product id.
        human: A JSON object: instructions that people wrote, by product id; may not exist.
        nouns: A JSON object: nouns by title; may not exist.
    """

    products: Path
    attributes: Path
    human: Path
    nouns: Path

    def existing(self) -> tuple[Path, ...]:
        """List those that exist."""
        return tuple(
            path
            for path in (self.products, self.attributes, self.human, self.nouns)
            if path.is_file()
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """An instruction that goals are made from.

    Attributes:
        text: The sentence, without a price.
        attributes: What the product must have; not empty.
        options: Values that must be chosen; for synthetic goals they are not part of this.
    """

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """One product, as pages, index and reward use it.

    Attributes:
        asin: Its id, at most 10 characters.
        category: One of five, such as ``garden``.
        query: The search by which it was found when the catalogue was made, lower case.
        product_category: Its path in the shop's tree, levels set off by single guillemets.
        title: Its name.
        description: Running text; may be empty.
        bullets: Its features; not empty.
        attributes: What it is known to be, lower case.
        prices: One price, or the ends of a range.
        price_tag: The same in words.
        options: Values to choose from, by name.
        wish: The instruction of its synthetic goals, if it has any.
        human_wishes: What people asked for that was this product.
    """

    asin: str
    category: str
    query: str
    product_category: str
    title: str
    description: str
    bullets: tuple[str, ...]
    attributes: tuple[str, ...]
    prices: tuple[float, ...]
    price_tag: str
    options: Mapping[str, tuple[str, ...]]
    wish: Wish | None
    human_wishes: tuple[Wish, ...]

    def indexed_text(self) -> str:
        """Give what search finds it by."""
        options = ", and ".join(f"{name}: {', '.join(of)}" for name, of in self.options.items())
        return " ".join([self.title, self.description, self.bullets[0], options]).lower()


def find_files(folder: Path) -> CatalogueFiles:
    """Find the small or the full set in a folder.

    Raises:
        CatalogueError: Neither is there, or both.
    """
    found = [files for files in _SETS if all((folder / file).is_file() for file in files)]
    if len(found) != 1:
        held = "both the small and the full set" if found else "no WebShop catalogue"
        names = " or ".join(" with ".join(files) for files in _SETS)
        raise CatalogueError(f"'{folder}' holds {held}: put there {names}")
    ((products, attributes),) = found
    return CatalogueFiles(
        folder / products, folder / attributes, folder / HUMAN_FILE, folder / NOUNS_FILE
    )


def read(files: CatalogueFiles) -> Iterator[Product]:
    """Read the products in their order, one at a time; of equal ids the first counts.

    Raises:
        CatalogueError: A file is not what it should be.
    """
    try:
        attributes = _read_whole(files.attributes)
        human = _read_whole(files.human) if files.human.is_file() else {}
        seen: set[str] = set()
        for raw in read_array(files.products):
            asin = raw["asin"]
            if asin == "nan" or len(asin) > _LONGEST_ASIN or asin in seen:
                continue
            seen.add(asin)
            yield _product(raw, attributes.get(asin, {}), human.get(asin, ()))
    except CatalogueError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CatalogueError(f"'{files.products}' is no WebShop catalogue: {reason}") from error


def _read_whole(path: Path) -> dict[str, Any]:
    try:
        return dict(read_object(path))
    except (ValueError, TypeError) as error:
        raise CatalogueError(f"'{path}' cannot be used: {error}") from error


def _product(
    raw: Mapping[str, Any], known: Mapping[str, Any], human: Sequence[Mapping[str, Any]]
) -> Product:
    small: Any = raw["small_description"]
    bullets: tuple[str, ...] = (small,) if isinstance(small, str) else tuple(small)
    if not bullets:
        raise CatalogueError(f"product {raw['asin']} has an empty small_description")
    prices = _prices(raw)
    return Product(
        asin=raw["asin"],
        category=raw["category"],
        query=raw["query"].lower().strip(),
        product_category=raw["product_category"],
        title=raw["name"],
        description=raw["full_description"],
        bullets=bullets,
        attributes=tuple(known.get("attributes", _NO_ATTRIBUTES)),
        prices=prices,
        price_tag=" to ".join(f"${price}" for price in prices),
        options=_options(raw["customization_options"] or {}),
        wish=_wish(raw["asin"], known),
        human_wishes=tuple(_human_wish(wish) for wish in human if wish["instruction_attributes"]),
    )


def _prices(raw: Mapping[str, Any]) -> tuple[float, ...]:
    """Read ``$9.99`` or ``$9.99$19.99``."""
    if not raw.get("pricing"):
        return (_NO_PRICE,)
    amounts = raw["pricing"].split("$")[1:]
    if not amounts:
        raise CatalogueError(f"product {raw['asin']} has the price '{raw['pricing']}', without $")
    return tuple(float(re.sub(r"[^\d.]", "", amount)) for amount in amounts[:2])


def _options(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        name.lower(): tuple(
            choice["value"].strip().replace("/", " | ").lower() for choice in choices
        )
        for name, choices in raw.items()
        if choices is not None
    }


def _wish(asin: str, known: Mapping[str, Any]) -> Wish | None:
    if known.get("instruction") is None:
        return None
    attributes = known.get("instruction_attributes")
    if not attributes:
        raise CatalogueError(f"product {asin} has an instruction without attributes")
    return Wish(known["instruction"], tuple(attributes))


def _human_wish(raw: Mapping[str, Any]) -> Wish:
    return Wish(
        raw["instruction"].strip("."),
        tuple(raw["instruction_attributes"]),
        tuple(raw["instruction_options"]),
    )
