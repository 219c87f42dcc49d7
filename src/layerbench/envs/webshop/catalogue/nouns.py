"""Nouns of product titles, by which the reward compares a purchase with the goal's product.

The published code tags titles by spaCy at each purchase. Here only a catalogue without a file of
nouns needs spaCy, and each title is tagged once.
"""

import contextlib
import importlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from layerbench.errors import UserError

MODEL = "en_core_web_sm"
"""The spaCy model that the published code loads."""

_TAGS = ("NOUN", "PROPN")


class NounsError(UserError):
    """Titles have to be tagged, and spaCy or its model is missing or of another version."""


class Tagger:
    """spaCy's small English model.

    Raises:
        NounsError: It is not installed.
    """

    def __init__(self) -> None:
        try:
            # Without the parts of the model that come after the tags.
            self._model: Any = importlib.import_module("spacy").load(
                MODEL, exclude=["lemmatizer", "ner"]
            )
        except (ImportError, OSError) as error:
            raise NounsError(
                "this catalogue comes without the nouns of its titles: pip install "
                f"'layerbench[webshop]' and python -m spacy download {MODEL}, or put "
                "product_nouns.json beside it"
            ) from error

    @property
    def version(self) -> str:
        """Name and version of the model."""
        return f"{MODEL} {self._model.meta['version']}"

    def tag(self, titles: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Yield the nouns of each title, lower case, in order and with repeats."""
        for words in self._model.pipe(titles):
            yield tuple(word.text.lower() for word in words if word.pos_ in _TAGS)


def installed_version() -> str:
    """Name the installed version of the model without loading it; no version if there is none."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return f"{MODEL} {metadata.version(MODEL)}"
    return MODEL


class LazyNouns:
    """Tags each title at its first use, and caches the nouns in a file.

    Args:
        path: The file. Its first line names the model; several processes may append to it.
        title_of: Returns a product's title by its number.

    Raises:
        NounsError: The tagger is missing, or the file is from another version of it.
    """

    def __init__(self, path: Path, title_of: Callable[[int], str]) -> None:
        self._path = path
        self._title_of = title_of
        self._tagger = Tagger()
        self._nouns: dict[int, tuple[str, ...]] = {}
        if not path.exists():
            self._append(self._tagger.version)
        version, *lines = (json.loads(line) for line in path.read_text().splitlines())
        if version != self._tagger.version:
            raise NounsError(
                f"'{path}' was made by {version}, but {self._tagger.version} is installed: "
                "install that version, or delete the file"
            )
        self._nouns |= {number: tuple(nouns) for number, nouns in lines}

    def __call__(self, number: int) -> tuple[str, ...]:
        """Return the nouns of a product's title, by the product's number."""
        if number not in self._nouns:
            (self._nouns[number],) = self._tagger.tag([self._title_of(number)])
            self._append([number, self._nouns[number]])
        return self._nouns[number]

    def _append(self, row: object) -> None:
        # One write, so that lines of several processes do not mix.
        line = f"{json.dumps(row)}\n".encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
