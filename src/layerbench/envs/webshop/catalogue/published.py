"""Reads products from the three files that WebShop's authors publish."""

import contextlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from layerbench.envs.data_files import check, exists
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

    def existing(self) -> dict[str, Path]:
        """List the files that exist, by what they hold."""
        return {
            field.name: path for field in fields(self) if exists(path := getattr(self, field.name))
        }


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
        DataFileError: A file cannot be read, or only stands in for the file.
    """
    complete = [files for files in _SETS if all(exists(folder / file) for file in files)]
    if len(complete) != 1:
        contents = "both the small and the full set" if complete else "no WebShop catalogue"
        names = " or ".join(" with ".join(files) for files in _SETS)
        raise CatalogueError(f"'{folder}' holds {contents}: put there {names}")
    ((products, attributes),) = complete
    files = CatalogueFiles(
        folder / products, folder / attributes, folder / HUMAN_FILE, folder / NOUNS_FILE
    )
    for path in files.existing().values():
        check(path)
    return files


def read(files: CatalogueFiles) -> Iterator[Product]:
    """Yield the products in order; of those with the same id, the first alone.

    Raises:
        CatalogueError: A file is malformed.
    """
    attributes = _read_whole(files.attributes)
    human = _read_whole(files.human) if exists(files.human) else {}
    seen: set[str] = set()
    with _named(files.products):
        for raw in read_array(files.products):
            asin = raw["asin"]
            if asin == "nan" or len(asin) > _MAX_ASIN_LENGTH or asin in seen:
                continue
            seen.add(asin)
            with _named(files.attributes):
                extra = _attributes(asin, attributes.get(asin, {}))
            with _named(files.human):
                by_people = _human_instructions(human.get(asin, ()))
            yield _product(raw, *extra, by_people)


@contextlib.contextmanager
def _named(path: Path) -> Generator[None]:
    """Name the file in the error about its content."""
    try:
        yield
    except UserError:
        raise
    # Deep nesting ends in a RecursionError of the parser, which is no ValueError.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CatalogueError(f"'{path}' is no WebShop catalogue: {reason}") from error


def _read_whole(path: Path) -> dict[str, Any]:
    with _named(path):
        return dict(read_object(path))


def _product(
    raw: Any,  # noqa: ANN401 - JSON
    attributes: tuple[str, ...],
    instruction: Instruction | None,
    human_instructions: tuple[Instruction, ...],
) -> Product:
    small: Any = raw["small_description"]
    bullets = (small,) if isinstance(small, str) else _texts(small)
    if not bullets:
        raise ValueError(f"product {raw['asin']} has an empty small_description")
    prices = _prices(raw)
    return Product(
        asin=_text(raw["asin"]),
        category=_text(raw["category"]),
        query=raw["query"].lower().strip(),
        product_category=_text(raw["product_category"]),
        title=_text(raw["name"]),
        description=_text(raw["full_description"]),
        bullets=bullets,
        attributes=attributes,
        prices=prices,
        price_tag=" to ".join(f"${price}" for price in prices),
        options=_options(raw["customization_options"] or {}),
        instruction=instruction,
        human_instructions=human_instructions,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} should be text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{str(values)[:40]!r} should be a list of texts")
    return tuple(map(_text, cast(Sequence[object], values)))


def _prices(raw: Mapping[str, Any]) -> tuple[float, ...]:
    """Parse ``$9.99`` or ``$9.99$19.99``."""
    if not raw.get("pricing"):
        return (_NO_PRICE,)
    amounts = raw["pricing"].split("$")[1:]
    if not amounts:
        raise ValueError(f"product {raw['asin']} has the price '{raw['pricing']}', without $")
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


def _attributes(
    asin: str,
    extra: Any,  # noqa: ANN401 - JSON
) -> tuple[tuple[str, ...], Instruction | None]:
    """Read a product's attributes, and the instruction of its synthetic goals if it has one."""
    own = _texts(extra.get("attributes", _NO_ATTRIBUTES))
    if extra.get("instruction") is None:
        return own, None
    required = extra.get("instruction_attributes")
    if not required:
        raise ValueError(f"product {asin} has an instruction without attributes")
    return own, Instruction(_text(extra["instruction"]), _texts(required))


def _human_instructions(entries: Any) -> tuple[Instruction, ...]:  # noqa: ANN401 - JSON
    return tuple(
        Instruction(
            entry["instruction"].strip("."),
            _texts(entry["instruction_attributes"]),
            _texts(entry["instruction_options"]),
        )
        for entry in entries
        if entry["instruction_attributes"]
    )
