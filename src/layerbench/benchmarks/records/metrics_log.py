"""Reads ``metrics.jsonl``, one JSON object for each training iteration of a run."""

import json
from pathlib import Path
from typing import Any


def read(path: Path) -> list[Any]:
    """Read all lines of a finished run's file.

    Raises:
        OSError: The file cannot be opened.
        ValueError: A line is not JSON, or the file is not UTF-8.
        RecursionError: A line nests too deeply.
    """
    return _parse(path.read_text(encoding="utf-8"))


def read_so_far(path: Path) -> list[Any]:
    """Read the finished lines of a file that a run may be writing; none if it is not there yet.

    Raises:
        ValueError: As in ``read``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    # Only a line break finishes a line: what comes after the last one is half a line, or nothing.
    return _parse(text[: text.rfind("\n") + 1])


def _parse(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
