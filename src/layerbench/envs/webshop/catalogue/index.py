"""The index of a catalogue: a folder that is built once and memory-mapped by shops."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from layerbench.envs.cache import cache_dir, make_once
from layerbench.envs.webshop.catalogue import published
from layerbench.envs.webshop.catalogue.nouns import Tagger
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

FORMAT = 1
"""Format of the index; indexes of another format are built again."""

# Hashes of larger files (bytes) are cached: those of the full set are gigabytes.
_MAX_REHASHED_SIZE = 1 << 26
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
    hashes = {path.name: _hash_of(path) for path in files.existing()}
    text = json.dumps([FORMAT, sorted(hashes.items())])
    digest = hashlib.sha256(text.encode()).hexdigest()
    folder = cache_dir() / "webshop" / digest[:32]

    source = f"webshop-{digest[:12]}"
    facts = {"sha256": hashes, "digest": digest}
    make_once(folder, lambda empty: build(empty, files, source=source, about=facts))
    return folder


def build(folder: Path, files: CatalogueFiles, *, source: str, about: Mapping[str, Any]) -> None:
    """Build the index of a catalogue.

    Args:
        folder: An empty folder.
        files: The catalogue's files.
        source: Name of the catalogue in records.
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
    facts = {"source": source, "products": count, "nouns": tagged_by, **about}
    (folder / ABOUT).write_text(json.dumps(facts, indent=1) + "\n")


def about(folder: Path) -> Mapping[str, Any]:
    """Read facts about a catalogue: source, number of products, origin of the nouns, hashes."""
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
    if nouns_file.is_file():
        try:
            nouns = json.loads(nouns_file.read_text())
        except ValueError as error:
            raise CatalogueError(f"'{nouns_file}' is not JSON: {error}") from error
        write_rows(path, (_look_up(nouns, title, nouns_file) for title in titles))
        return nouns_file.name
    if count > _MAX_TAGGED_AT_ONCE:
        return "found when needed"
    tagger = Tagger()
    write_rows(path, tagger.tag(titles))
    return tagger.version


def _look_up(nouns: Mapping[str, list[str]], title: str, path: Path) -> list[str]:
    if title not in nouns:
        raise CatalogueError(f"'{path}' has no nouns for the title '{title}'")
    return nouns[title]


def _hash_of(path: Path) -> str:
    """Hash a file; the hash of a large one is cached by path, size and modification time."""
    stat = path.resolve().stat()
    if stat.st_size < _MAX_REHASHED_SIZE:
        return file_sha256(path)
    identity = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    folder = cache_dir() / "webshop" / "hashes" / name

    def fill(empty: Path) -> None:
        (empty / "sha256").write_text(file_sha256(path))

    make_once(folder, fill)
    return (folder / "sha256").read_text()
