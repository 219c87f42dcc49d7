"""Reads JSON files that are too large for memory, value by value."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_CHUNK_CHARS = 1 << 22


def read_array(path: Path) -> Iterator[Any]:
    """Yield the elements of a file's JSON array, one at a time.

    Raises:
        ValueError: The file is not a JSON array.
    """
    with path.open(encoding="utf-8") as file:
        scanner = _Scanner(file, opening="[")
        while scanner.peek() != "]":
            yield scanner.value()


def read_object(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a file's JSON object, one at a time.

    Raises:
        ValueError: The file is not a JSON object.
    """
    with path.open(encoding="utf-8") as file:
        scanner = _Scanner(file, opening="{")
        while scanner.peek() != "}":
            yield scanner.value(), scanner.value()


class _Scanner:
    """Parses a file in chunks, and keeps only the text not parsed yet."""

    def __init__(self, file: TextIO, *, opening: str) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._position = 0
        if self.peek() != opening:
            raise ValueError(f"'{file.name}' does not begin with {opening}")
        self._position += 1

    def peek(self) -> str:
        """Skip to the next value or closing bracket, and return its first character."""
        while True:
            while self._position < len(self._text):
                character = self._text[self._position]
                # Misplaced commas and colons are skipped too; value() rejects other malformed text.
                if character not in " \t\r\n,:":
                    return character
                self._position += 1
            if not self._read_on():
                raise ValueError(f"'{self._file.name}' ends too early")

    def value(self) -> Any:  # noqa: ANN401 - JSON
        """Parse the next value, reading on while it is incomplete."""
        self.peek()
        while True:
            try:
                # Only a bare number could be cut at the end of a chunk unnoticed, and WebShop's
                # files have none at this level.
                value, self._position = self._decoder.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise ValueError(f"'{self._file.name}' is not JSON: {error}") from error
            else:
                return value

    def _read_on(self) -> bool:
        more = self._file.read(_CHUNK_CHARS)
        self._text = self._text[self._position :] + more
        self._position = 0
        return bool(more)
