"""Fills the folder that a shop is opened from: once for a catalogue, product by product."""

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
    Product,
    Wish,
)
from layerbench.envs.webshop.row_file import Rows, write_rows
from layerbench.envs.webshop.search import bm25
from layerbench.envs.webshop.search.postings import PostingsBuilder

PRODUCTS, NOUNS, SEARCH, FIELDS, ABOUT = (
    "products.jsonl",
    "nouns.jsonl",
    "search",
    "fields",
    "about.json",
)
"""What lies in the folder; without ``NOUNS`` titles are tagged one by one when they are needed."""

FORMAT = 1
"""Of the folder; another one is filled anew."""

_HASHED_EACH_TIME = 1 << 26
# Titles of larger catalogues are tagged when they are needed: few of them ever are.
_TAGGED_AT_ONCE = 20_000


def official(data_dir: Path) -> Path:
    """Fill a folder from published files, unless that was done before.

    Raises:
        CatalogueError: The files are not there, or not what they should be.
        CacheError: The cache cannot be written.
        NounsError: The nouns are not there, and spaCy is not either.
    """
    files = published.find_files(data_dir)
    hashes = {path.name: _hash_of(path) for path in files.existing()}
    text = json.dumps([FORMAT, sorted(hashes.items())])
    digest = hashlib.sha256(text.encode()).hexdigest()
    folder = cache_dir() / "webshop" / digest[:32]

    def build(empty: Path) -> None:
        fill(
            empty,
            files,
            source=f"webshop-{digest[:12]}",
            about={"sha256": hashes, "digest": digest},
        )

    make_once(folder, build)
    return folder


def fill(folder: Path, files: CatalogueFiles, *, source: str, about: Mapping[str, Any]) -> None:
    """Fill an empty folder.

    Args:
        folder: What to fill.
        files: Where the products are read from.
        source: Label of the catalogue for records.
        about: What else is to be remembered of it.
    """
    count = write_rows(folder / PRODUCTS, map(to_row, published.read(files)))
    if not count:
        raise CatalogueError(f"'{files.products}' holds no products")
    products = _Products(Rows(folder / PRODUCTS))
    bm25.build((product.asin, product.indexed_text()) for product in products).save(folder / SEARCH)
    _index_fields(products).finish().save(folder / FIELDS)
    tagged_by = _write_nouns(folder / NOUNS, products, files.nouns, count=count)
    facts = {"source": source, "products": count, "nouns": tagged_by, **about}
    (folder / ABOUT).write_text(json.dumps(facts, indent=1) + "\n")


def about(folder: Path) -> Mapping[str, Any]:
    """Read what is remembered of a catalogue: source, number of products, origin of the nouns."""
    return json.loads((folder / ABOUT).read_text())


def field_key(field: str, value: str) -> str:
    """Name a value of a field in the index of fields."""
    return f"{field}:{value}"


def to_row(product: Product) -> list[Any]:
    """Write a product as JSON."""
    return [getattr(product, name) for name in _FIELDS[:-2]] + [
        product.wish and _wish_to_row(product.wish),
        [_wish_to_row(wish) for wish in product.human_wishes],
    ]


def from_row(row: list[Any]) -> Product:
    """Read what ``to_row`` wrote."""
    values = dict(zip(_FIELDS, row, strict=True))
    for name in ("bullets", "attributes", "prices"):
        values[name] = tuple(values[name])
    values["options"] = {name: tuple(of) for name, of in values["options"].items()}
    values["wish"] = values["wish"] and _wish_from_row(values["wish"])
    values["human_wishes"] = tuple(map(_wish_from_row, values["human_wishes"]))
    return Product(**values)


_FIELDS = tuple(field.name for field in fields(Product))


def _wish_to_row(wish: Wish) -> list[Any]:
    return [wish.text, wish.attributes, wish.options]


def _wish_from_row(row: list[Any]) -> Wish:
    text, attributes, options = row
    return Wish(text, tuple(attributes), tuple(options))


class _Products:
    """Reads all products, as often as wanted."""

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


def _write_nouns(path: Path, products: Iterable[Product], given: Path, *, count: int) -> str:
    """Write the nouns of every title, from a file or by spaCy; say where they are from."""
    titles = (product.title for product in products)
    if given.is_file():
        try:
            known = json.loads(given.read_text())
        except ValueError as error:
            raise CatalogueError(f"'{given}' is not JSON: {error}") from error
        write_rows(path, (_look_up(known, title, given) for title in titles))
        return given.name
    if count > _TAGGED_AT_ONCE:
        return "found when needed"
    tagger = Tagger()
    write_rows(path, tagger.tag(titles))
    return tagger.version


def _look_up(known: Mapping[str, list[str]], title: str, path: Path) -> list[str]:
    if title not in known:
        raise CatalogueError(f"'{path}' has no nouns for the title '{title}'")
    return known[title]


def _hash_of(path: Path) -> str:
    """Hash a file; a large one only once."""
    found = path.resolve().stat()
    if found.st_size < _HASHED_EACH_TIME:
        return _sha256(path)
    identity = f"{path.resolve()}|{found.st_size}|{found.st_mtime_ns}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    folder = cache_dir() / "webshop" / "hashes" / name
    make_once(folder, lambda empty: _note(empty, _sha256(path)))
    return (folder / "sha256").read_text()


def _note(folder: Path, digest: str) -> None:
    (folder / "sha256").write_text(digest)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
