"""Reads ``metrics.jsonl``, one JSON object for each training iteration of a run."""

from pathlib import Path
from typing import Any

from layerbench import untrusted_files
from layerbench.benchmarks.errors import FormatError, UserError
from layerbench.benchmarks.records import json_codec


def read(path: Path) -> list[Any]:
    """Read all lines of a finished run's file.

    Raises:
        OSError: The file cannot be opened.
        FormatError: A line is no JSON object, or the file is not UTF-8 or too large.
    """
    rows = [
        json_codec.parse(line, where=str(path)) for line in json_codec.read_text(path).splitlines()
    ]
    if not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"{path} has a line that is no JSON object")
    return rows


def read_so_far(path: Path) -> list[Any]:
    """Read the lines of a file that a run may be writing, up to the first that is not whole.

    A start of the run writes them again, from its newest checkpoint.
    """
    try:
        # A damaged line must not hide those before it.
        content = untrusted_files.read_bytes(path, most=json_codec.LARGEST_FILE)
        text = content.decode(errors="replace")
    except (OSError, UserError):
        return []
    rows: list[Any] = []
    # Only a line break finishes a line: what comes after the last one is half a line, or nothing.
    for line in text.split("\n")[:-1]:
        try:
            row = json_codec.parse(line, where=str(path))
        except FormatError:
            break
        match row:
            case {"success": float() | int()}:
                rows.append(row)
            case _:
                break
    return rows
