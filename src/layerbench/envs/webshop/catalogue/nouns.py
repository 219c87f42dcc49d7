"""Nouns of product titles, which decide whether a purchase is the kind of thing asked for.

The published code has spaCy tag them. Only a catalogue that comes without its nouns needs spaCy
here, and each of its titles once.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

MODEL = "en_core_web_sm"
"""What the published code loads."""

_TAGS = ("NOUN", "PROPN")


class NounsError(ValueError):
    """Nouns are needed that nobody has found yet, and spaCy or its model is not there."""


class Tagger:
    """spaCy's small English model.

    Raises:
        NounsError: It is not installed.
    """

    def __init__(self) -> None:
        try:
            # Without what only comes after the tags.
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
        """Give the nouns of each title, lower case, in order and with repeats."""
        for words in self._model.pipe(titles):
            yield tuple(word.text.lower() for word in words if word.pos_ in _TAGS)


class LazyNouns:
    """Tags a title when it is first asked for, and notes the result in a file.

    Args:
        path: The file. Its first line names the model; several processes may append to it.
        title_of: Gives a product's title by its number.

    Raises:
        NounsError: There is no tagger, or another model made the file.
    """

    def __init__(self, path: Path, title_of: Callable[[int], str]) -> None:
        self._path = path
        self._title_of = title_of
        self._tagger = Tagger()
        self._known: dict[int, tuple[str, ...]] = {}
        if not path.exists():
            self._append(self._tagger.version)
        version, *lines = (json.loads(line) for line in path.read_text().splitlines())
        if version != self._tagger.version:
            raise NounsError(
                f"'{path}' was made by {version}, but {self._tagger.version} is installed: "
                "install that version, or delete the file"
            )
        self._known |= {number: tuple(nouns) for number, nouns in lines}

    def __call__(self, number: int) -> tuple[str, ...]:
        """Give the nouns of a product's title."""
        if number not in self._known:
            (self._known[number],) = self._tagger.tag([self._title_of(number)])
            self._append([number, self._known[number]])
        return self._known[number]

    def _append(self, row: object) -> None:
        # One write, so that lines of several processes do not mix.
        line = f"{json.dumps(row)}\n".encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
