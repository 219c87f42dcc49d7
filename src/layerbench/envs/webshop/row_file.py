"""Files of JSON rows with random access, written once and then memory-mapped."""

import json
import mmap
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def write_rows(path: Path, rows: Iterable[object]) -> int:
    """Write each row as a line of JSON, and a file of line starts; return the number of rows."""
    starts = array("q")
    with path.open("wb") as file:
        for row in rows:
            starts.append(file.tell())
            file.write(f"{json.dumps(row, separators=(',', ':'))}\n".encode())
        starts.append(file.tell())
    np.save(_starts_of(path), np.array(starts, dtype=np.int64))
    return len(starts) - 1


class Rows:
    """Reads single rows of a file of ``write_rows`` from mapped memory."""

    def __init__(self, path: Path) -> None:
        self._starts = mapped(_starts_of(path))
        with path.open("rb") as file:
            # An empty file cannot be mapped.
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(self) else b""

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> Any:  # noqa: ANN401 - JSON
        start, end = int(self._starts[number]), int(self._starts[number + 1])
        return json.loads(self._data[start:end])


def mapped(path: Path) -> np.ndarray:
    """Map an array file into memory; only the parts in use are read from disk."""
    # np.memmap, the subclass that numpy returns, is slow to index.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _starts_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.npy")
