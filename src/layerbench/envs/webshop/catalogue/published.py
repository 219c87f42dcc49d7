"""Reads products from the three files that WebShop's authors publish."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.envs.webshop.catalogue.json_stream import read_array, read_object
from layerbench.errors import UserError

HUMAN_FILE = "items_human_ins.json"
NOUNS_FILE = "product_nouns.json"
"""Nouns of the titles: not published, but used if it lies beside the other files."""

_SETS = (
    ("items_shuffle_1000.json", "items_ins_v2_1000.json"),
    ("items_shuffle.json", "items_ins_v2.json"),
)
# From the published code: longer ids are dropped, missing prices and attributes replaced.
_MAX_ASIN_LENGTH = 10
_NO_PRICE = 100.0
_NO_ATTRIBUTES = ("DUMMY_ATTR",)


class CatalogueError(UserError):
    """The catalogue's files are missing or malformed."""


@dataclass(frozen=True, slots=True)
class CatalogueFiles:
    """The files of a catalogue.

    Attributes:
        products: A JSON array of products.
        attributes: A JSON object: attributes and an instruction by product id.
        human: A JSON object: instructions written by people, by product id; may not exist.
        nouns: A JSON object: nouns by title; may not exist.
    """

    products: Path
    attributes: Path
    human: Path
    nouns: Path

    def existing(self) -> tuple[Path, ...]:
        """List the files that exist."""
        return tuple(
            path
            for path in (self.products, self.attributes, self.human, self.nouns)
            if path.is_file()
        )


@dataclass(frozen=True, slots=True)
class Instruction:
    """A shopping instruction from which goals are made.

    Attributes:
        text: The sentence, without options and price.
        attributes: Attributes that the product must have; not empty.
        options: Option values that must be chosen; empty for synthetic instructions, whose goals
            combine the product's options.
    """

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """One product of a catalogue.

    Attributes:
        asin: The product's id, at most 10 characters.
        category: One of five, such as ``garden``.
        query: The search term under which it was scraped, lower case.
        product_category: Path of categories, separated by single guillemets.
        title: The product's name.
        description: Running text; may be empty.
        bullets: Features; not empty.
        attributes: Attributes, lower case; used by search and reward.
        prices: One price, or both ends of a range, in dollars.
        price_tag: The prices as text.
        options: The values of each option, by the option's name.
        instruction: The instruction of its synthetic goals, if it has any.
        human_instructions: Instructions that people wrote for this product.
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
    instruction: Instruction | None
    human_instructions: tuple[Instruction, ...]

    def indexed_text(self) -> str:
        """Return the text that is searched, lower case."""
        options = ", and ".join(f"{name}: {', '.join(vs)}" for name, vs in self.options.items())
        # Like the published code: of the features the first one alone.
        return " ".join([self.title, self.description, self.bullets[0], options]).lower()


def find_files(folder: Path) -> CatalogueFiles:
    """Find the files of the small or the full set in a folder.

    Raises:
        CatalogueError: The folder has neither set, or both.
    """
    complete = [files for files in _SETS if all((folder / file).is_file() for file in files)]
    if len(complete) != 1:
        contents = "both the small and the full set" if complete else "no WebShop catalogue"
        names = " or ".join(" with ".join(files) for files in _SETS)
        raise CatalogueError(f"'{folder}' holds {contents}: put there {names}")
    ((products, attributes),) = complete
    return CatalogueFiles(
        folder / products, folder / attributes, folder / HUMAN_FILE, folder / NOUNS_FILE
    )


def read(files: CatalogueFiles) -> Iterator[Product]:
    """Yield the products in order; of those with the same id, the first alone.

    Raises:
        CatalogueError: A file is malformed.
    """
    try:
        attributes = _read_whole(files.attributes)
        human = _read_whole(files.human) if files.human.is_file() else {}
        seen: set[str] = set()
        for raw in read_array(files.products):
            asin = raw["asin"]
            if asin == "nan" or len(asin) > _MAX_ASIN_LENGTH or asin in seen:
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
    raw: Mapping[str, Any], extra: Mapping[str, Any], human: Sequence[Mapping[str, Any]]
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
        attributes=tuple(extra.get("attributes", _NO_ATTRIBUTES)),
        prices=prices,
        price_tag=" to ".join(f"${price}" for price in prices),
        options=_options(raw["customization_options"] or {}),
        instruction=_instruction(raw["asin"], extra),
        human_instructions=tuple(
            _human_instruction(entry) for entry in human if entry["instruction_attributes"]
        ),
    )


def _prices(raw: Mapping[str, Any]) -> tuple[float, ...]:
    """Parse ``$9.99`` or ``$9.99$19.99``."""
    if not raw.get("pricing"):
        return (_NO_PRICE,)
    amounts = raw["pricing"].split("$")[1:]
    if not amounts:
        raise CatalogueError(f"product {raw['asin']} has the price '{raw['pricing']}', without $")
    return tuple(float(re.sub(r"[^\d.]", "", amount)) for amount in amounts[:2])


def _options(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        # As in the original, whose URLs contain the values: no slashes.
        name.lower(): tuple(
            choice["value"].strip().replace("/", " | ").lower() for choice in choices
        )
        for name, choices in raw.items()
        if choices is not None
    }


def _instruction(asin: str, extra: Mapping[str, Any]) -> Instruction | None:
    if extra.get("instruction") is None:
        return None
    attributes = extra.get("instruction_attributes")
    if not attributes:
        raise CatalogueError(f"product {asin} has an instruction without attributes")
    return Instruction(extra["instruction"], tuple(attributes))


def _human_instruction(raw: Mapping[str, Any]) -> Instruction:
    return Instruction(
        raw["instruction"].strip("."),
        tuple(raw["instruction_attributes"]),
        tuple(raw["instruction_options"]),
    )
