"""The index of a catalogue: a folder that is built once and memory-mapped by shops."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from layerbench.envs.cache import cache_dir, make_once, remembered
from layerbench.envs.data_files import exists, parse_object, read_bytes
from layerbench.envs.webshop.catalogue import published
from layerbench.envs.webshop.catalogue.nouns import Tagger, installed_version
from layerbench.envs.webshop.catalogue.published import (
    CatalogueError,
    CatalogueFiles,
    Instruction,
    Product,
)
from layerbench.envs.webshop.row_file import Rows, write_rows
from layerbench.envs.webshop.search import bm25
from layerbench.envs.webshop.search.postings import PostingsBuilder
from layerbench.hashing import file_sha256

PRODUCTS, NOUNS, SEARCH, FIELDS, ABOUT = (
    "products.jsonl",
    "nouns.jsonl",
    "search",
    "fields",
    "about.json",
)
"""Names in the folder. Without ``NOUNS``, titles are tagged one by one when needed."""

FORMAT = 2
"""Format of the index; indexes of another format are built again."""

_FOUND_LATER = "found when needed"
# The nouns of the full set's 1.2 million titles take 0.2 GB.
_MOST_NOUNS_BYTES = 1 << 31
# Titles of larger catalogues are tagged when needed, since few of them ever are.
_MAX_TAGGED_AT_ONCE = 20_000


def ensure_published(data_dir: Path) -> Path:
    """Build the index of a published catalogue, unless it exists; return its folder.

    Raises:
        CatalogueError: The files are missing or malformed.
        CacheError: The cache cannot be written.
        NounsError: Neither the nouns nor spaCy is installed.
    """
    files = published.find_files(data_dir)
    # The index depends on the files' contents, not on their folder.
    hashes = {role: _hash_of(path) for role, path in files.existing().items()}
    text = json.dumps([FORMAT, sorted(hashes.items())])
    folder = cache_dir() / "webshop" / hashlib.sha256(text.encode()).hexdigest()
    make_once(folder, lambda empty: build(empty, files, about={"sha256": hashes}))
    return folder


def deciding_hash(folder: Path, *, with_human: bool) -> str:
    """Hash what decides an episode: a published catalogue's files, and what found the nouns.

    Args:
        folder: Its index.
        with_human: Whether goals are made of the instructions that people wrote.
    """
    facts = about(folder)
    decides = {
        role: digest for role, digest in facts["sha256"].items() if role != "human" or with_human
    }
    if "nouns" not in decides:
        lazy = facts["nouns"] == _FOUND_LATER
        decides["nouns"] = installed_version() if lazy else facts["nouns"]
    text = json.dumps(sorted(decides.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def build(folder: Path, files: CatalogueFiles, *, about: Mapping[str, Any]) -> None:
    """Build the index of a catalogue.

    Args:
        folder: An empty folder.
        files: The catalogue's files.
        about: Further entries of ``about``.

    Raises:
        CatalogueError: The files are malformed.
        NounsError: Neither the nouns nor spaCy is installed.
    """
    count = write_rows(folder / PRODUCTS, map(to_row, published.read(files)))
    if not count:
        raise CatalogueError(f"'{files.products}' holds no products")
    # From here on the products are read back, so that few are in memory at a time.
    products = _Products(Rows(folder / PRODUCTS))
    bm25.build((product.asin, product.indexed_text()) for product in products).save(folder / SEARCH)
    _index_fields(products).finish().save(folder / FIELDS)
    tagged_by = _write_nouns(folder / NOUNS, products, files.nouns, count=count)
    facts = {"products": count, "nouns": tagged_by, **about}
    (folder / ABOUT).write_text(json.dumps(facts, indent=1) + "\n")


def about(folder: Path) -> Mapping[str, Any]:
    """Read facts about a catalogue: number of products, origin of the nouns, hashes of files."""
    return json.loads((folder / ABOUT).read_text())


def field_key(field: str, value: str) -> str:
    """Return the key of a field's value in the index of fields."""
    return f"{field}:{value}"


def to_row(product: Product) -> list[Any]:
    """Convert a product to JSON values, without names to save space."""
    return [getattr(product, name) for name in _FIELDS[:-2]] + [
        product.instruction and _instruction_to_row(product.instruction),
        [_instruction_to_row(human) for human in product.human_instructions],
    ]


def from_row(row: list[Any]) -> Product:
    """Convert a row of ``to_row`` back to a product."""
    values = dict(zip(_FIELDS, row, strict=True))
    for name in ("bullets", "attributes", "prices"):
        values[name] = tuple(values[name])
    values["options"] = {name: tuple(choices) for name, choices in values["options"].items()}
    values["instruction"] = values["instruction"] and _instruction_from_row(values["instruction"])
    values["human_instructions"] = tuple(map(_instruction_from_row, values["human_instructions"]))
    return Product(**values)


# The order of values in a row: a change needs another FORMAT.
_FIELDS = tuple(field.name for field in fields(Product))


def _instruction_to_row(instruction: Instruction) -> list[Any]:
    return [instruction.text, instruction.attributes, instruction.options]


def _instruction_from_row(row: list[Any]) -> Instruction:
    text, attributes, options = row
    return Instruction(text, tuple(attributes), tuple(options))


class _Products:
    """Iterates over all products, any number of times."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Product]:
        return (from_row(self._rows[number]) for number in range(len(self._rows)))


def _index_fields(products: Iterable[Product]) -> PostingsBuilder:
    builder = PostingsBuilder()
    for product in products:
        keys = [
            field_key("category", product.category),
            field_key("query", product.query),
            *(field_key("attribute", attribute) for attribute in product.attributes),
        ]
        builder.add(dict.fromkeys(keys, 1))
    return builder


def _write_nouns(path: Path, products: Iterable[Product], nouns_file: Path, *, count: int) -> str:
    """Write the nouns of every title, from a file or by spaCy; return their origin."""
    titles = (product.title for product in products)
    if exists(nouns_file):
        nouns = parse_object(nouns_file, read_bytes(nouns_file, most=_MOST_NOUNS_BYTES))
        write_rows(path, (_look_up(nouns, title, nouns_file) for title in titles))
        return nouns_file.name
    if count > _MAX_TAGGED_AT_ONCE:
        return _FOUND_LATER
    tagger = Tagger()
    write_rows(path, tagger.tag(titles))
    return tagger.version


def _look_up(nouns: Mapping[str, Any], title: str, path: Path) -> list[str]:
    found = nouns.get(title)
    if not isinstance(found, list) or not all(isinstance(n, str) for n in cast(list[Any], found)):
        raise CatalogueError(f"'{path}' has no nouns for the title '{title}'")
    return cast(list[str], found)


def _hash_of(path: Path) -> str:
    """Hash a file, unless it is known: those of the full set are gigabytes."""
    return remembered("webshop/hashes", [path], lambda: file_sha256(path))
