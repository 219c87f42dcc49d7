"""Reads ``metrics.jsonl``, one JSON object for each training iteration of a run."""

from pathlib import Path
from typing import Any

from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import json_codec


def read(path: Path) -> list[Any]:
    """Read all lines of a finished run's file.

    Raises:
        OSError: The file cannot be opened.
        FormatError: A line is no JSON object, or the file is not UTF-8 or too large.
    """
    return _parse(json_codec.read_text(path), path)


def read_so_far(path: Path) -> list[Any]:
    """Read the finished lines of a file that a run may be writing; none if it is not there yet.

    Raises:
        FormatError: As in ``read``.
    """
    try:
        text = json_codec.read_text(path)
    except FileNotFoundError:
        return []
    # Only a line break finishes a line: what comes after the last one is half a line, or nothing.
    return _parse(text[: text.rfind("\n") + 1], path)


def _parse(text: str, path: Path) -> list[Any]:
    lines = [json_codec.parse(line, where=str(path)) for line in text.splitlines()]
    if not all(isinstance(line, dict) for line in lines):
        raise FormatError(f"{path} has a line that is no JSON object")
    return lines
