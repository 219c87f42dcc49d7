"""JSON files under a hash of their content, so that damage is not taken for values."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar

from layerbench import files
from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.json_codec import Json

T = TypeVar("T")


def write(path: Path, value: object) -> None:
    """Write a dataclass and its hash to a file, atomically."""
    content = json_codec.encode(value)
    text = json.dumps({"sha256": digest(content), "content": content}, indent=1, allow_nan=False)
    files.replace(path, f"{text}\n".encode())


def read(cls: type[T], path: Path) -> T:
    """Read a dataclass that ``write`` wrote.

    Raises:
        FormatError: The file cannot be opened, or is not as it was written.
    """
    try:
        data = json_codec.parse(json_codec.read_text(path), where=str(path))
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror})") from error
    match data:
        case {"sha256": str(sha256), "content": content} if sha256 == digest(content):
            return json_codec.decode(cls, content, where=str(path))
        case _:
            raise FormatError(f"{path} is damaged")


def read_sound(cls: type[T], path: Path) -> T | None:
    """Read a dataclass; None where ``read`` would raise."""
    try:
        return read(cls, path)
    except FormatError:
        return None


def digest(content: Json) -> str:
    """Compute the SHA-256 of a JSON value, whatever its spaces and the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
