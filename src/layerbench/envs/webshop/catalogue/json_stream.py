"""JSON files too large to be read at once, value by value."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_CHUNK_CHARS = 1 << 22


def read_array(path: Path) -> Iterator[Any]:
    """Give the values of the array that a file holds, one at a time.

    Raises:
        ValueError: The file holds no array, or is broken.
    """
    with path.open(encoding="utf-8") as file:
        scanner = _Scanner(file, opening="[")
        while scanner.peek() != "]":
            yield scanner.value()


def read_object(path: Path) -> Iterator[tuple[str, Any]]:
    """Give the names and values of the object that a file holds, one at a time.

    Raises:
        ValueError: The file holds no object, or is broken.
    """
    with path.open(encoding="utf-8") as file:
        scanner = _Scanner(file, opening="{")
        while scanner.peek() != "}":
            yield scanner.value(), scanner.value()


class _Scanner:
    """Reads a file in pieces, of which it keeps the one it is at."""

    def __init__(self, file: TextIO, *, opening: str) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0
        if self.peek() != opening:
            raise ValueError(f"'{file.name}' does not begin with {opening}")
        self._place += 1

    def peek(self) -> str:
        """Skip to the next value, or the end, and give its first character."""
        while True:
            while self._place < len(self._text):
                character = self._text[self._place]
                # Commas and colons are only where they should be, or the next value is broken.
                if character not in " \t\r\n,:":
                    return character
                self._place += 1
            if not self._read_on():
                raise ValueError(f"'{self._file.name}' ends too early")

    def value(self) -> Any:  # noqa: ANN401 - JSON
        """Read the next value."""
        self.peek()
        while True:
            try:
                value, self._place = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise ValueError(f"'{self._file.name}' is not JSON: {error}") from error
            else:
                return value

    def _read_on(self) -> bool:
        more = self._file.read(_CHUNK_CHARS)
        self._text = self._text[self._place :] + more
        self._place = 0
        return bool(more)
