"""An inverted index as arrays that can be memory-mapped from files.

Shapes: K keys, P postings.
"""

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, UInt16, UInt64

from layerbench.envs.webshop.row_file import mapped

_MAX_COUNT = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class Postings:
    """The documents that have each key, with counts.

    Attributes:
        hashes_K: 64-bit hashes of the keys, ascending.
        starts_K1: Start of each key's postings, and the end of the last; K + 1 entries.
        documents_P: Numbers of the documents, ascending within a key.
        counts_P: Occurrences of the key in each document, at most 65535.
    """

    hashes_K: UInt64[np.ndarray, " K"]
    starts_K1: Int64[np.ndarray, " K1"]
    documents_P: Int32[np.ndarray, " P"]
    counts_P: UInt16[np.ndarray, " P"]

    def find(self, key: str) -> tuple[Int32[np.ndarray, " p"], UInt16[np.ndarray, " p"]]:
        """Return the documents that have a key, and its counts; empty for an unknown key."""
        key_hash = _hash(key)
        row = int(np.searchsorted(self.hashes_K, key_hash))
        if row == len(self.hashes_K) or self.hashes_K[row] != key_hash:
            return self.documents_P[:0], self.counts_P[:0]
        start, end = self.starts_K1[row], self.starts_K1[row + 1]
        return self.documents_P[start:end], self.counts_P[start:end]

    def save(self, folder: Path) -> None:
        """Write each array to a file in a new folder."""
        folder.mkdir()
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name))


def load(folder: Path) -> Postings:
    """Map postings from a folder of ``Postings.save``; unused parts are never read from disk."""
    return Postings(*(mapped(folder / f"{field.name}.npy") for field in fields(Postings)))


class PostingsBuilder:
    """Builds postings from documents, which are numbered from 0 in the order of ``add``."""

    def __init__(self) -> None:
        # Number of each key, in order of first use.
        self._numbers: dict[str, int] = {}
        self._keys = array("i")
        self._documents = array("i")
        self._counts = array("H")
        self._num_documents = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the next document, as the count of each of its keys."""
        numbers = self._numbers
        for key, count in counts.items():
            self._keys.append(numbers.setdefault(key, len(numbers)))
            self._counts.append(min(count, _MAX_COUNT))
        self._documents.extend([self._num_documents] * len(counts))
        self._num_documents += 1

    def finish(self) -> Postings:
        """Sort the collected postings by key."""
        hashes = np.array([_hash(key) for key in self._numbers], dtype=np.uint64)
        by_hash = np.argsort(hashes)
        row_of = np.empty_like(by_hash)
        row_of[by_hash] = np.arange(len(by_hash))
        rows = row_of[np.frombuffer(self._keys, dtype=np.int32)] if self._keys else by_hash
        assert len(np.unique(hashes)) == len(hashes), "two keys have one hash"
        # Stable, so that documents stay ascending within a key.
        order = np.argsort(rows, kind="stable")
        ends = np.cumsum(np.bincount(rows, minlength=len(hashes)), dtype=np.int64)
        return Postings(
            hashes_K=hashes[by_hash],
            starts_K1=np.concatenate(([0], ends)).astype(np.int64),
            documents_P=np.array(self._documents, dtype=np.int32)[order],
            counts_P=np.array(self._counts, dtype=np.uint16)[order],
        )


def _hash(key: str) -> np.uint64:
    # Lone surrogates can come from JSON, and strict UTF-8 would refuse them.
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))
