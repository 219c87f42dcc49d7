"""JSON files too large to be read at once, value by value."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CHUNK_CHARS = 1 << 22


def read_array(path: Path) -> Iterator[Any]:
    """Give the values of the array that a file holds, one at a time.

    Raises:
        ValueError: The file holds no array, or is broken.
    """
    with _Scanner(path, opening="[") as scanner:
        while scanner.peek() != "]":
            yield scanner.value()


def read_object(path: Path) -> Iterator[tuple[str, Any]]:
    """Give the names and values of the object that a file holds, one at a time.

    Raises:
        ValueError: The file holds no object, or is broken.
    """
    with _Scanner(path, opening="{") as scanner:
        while scanner.peek() != "}":
            yield scanner.value(), scanner.value()


class _Scanner:
    """Reads a file in pieces, of which it keeps the one it is at."""

    def __init__(self, path: Path, *, opening: str) -> None:
        self._path = path
        self._opening = opening
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0

    def __enter__(self) -> "_Scanner":
        self._file = self._path.open(encoding="utf-8")
        if self.peek() != self._opening:
            raise ValueError(f"'{self._path}' does not begin with {self._opening}")
        self._place += 1
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

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
                raise ValueError(f"'{self._path}' ends too early")

    def value(self) -> Any:  # noqa: ANN401 - JSON
        """Read the next value."""
        self.peek()
        while True:
            try:
                value, self._place = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise ValueError(f"'{self._path}' is not JSON: {error}") from error
            else:
                return value

    def _read_on(self) -> bool:
        more = self._file.read(_CHUNK_CHARS)
        self._text = self._text[self._place :] + more
        self._place = 0
        return bool(more)
