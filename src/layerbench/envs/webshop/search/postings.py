"""An inverted index as a few arrays, which can be mapped into memory from files.

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

_MOST_COUNTED = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class Postings:
    """Which documents have a key, and how often.

    Attributes:
        hashes_K: 64-bit hashes of the keys, ascending.
        starts_K1: Where each key's postings start, and the end of the last.
        documents_P: Numbers of documents, ascending within a key.
        counts_P: How often the key occurs in each.
    """

    hashes_K: UInt64[np.ndarray, " K"]
    starts_K1: Int64[np.ndarray, " K1"]
    documents_P: Int32[np.ndarray, " P"]
    counts_P: UInt16[np.ndarray, " P"]

    def find(self, key: str) -> tuple[Int32[np.ndarray, " p"], UInt16[np.ndarray, " p"]]:
        """Give the documents that have a key, and how often; empty for a key that none has."""
        wanted = _hash(key)
        place = int(np.searchsorted(self.hashes_K, wanted))
        if place == len(self.hashes_K) or self.hashes_K[place] != wanted:
            place = -1
        start, end = (self.starts_K1[place], self.starts_K1[place + 1]) if place >= 0 else (0, 0)
        return self.documents_P[start:end], self.counts_P[start:end]

    def save(self, folder: Path) -> None:
        """Write each array as a file of its own."""
        folder.mkdir()
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name))


def load(folder: Path) -> Postings:
    """Map what ``Postings.save`` wrote; pages that no search touches are never read."""
    return Postings(*(mapped(folder / f"{field.name}.npy") for field in fields(Postings)))


class PostingsBuilder:
    """Collects documents one by one; they are numbered from 0 in the order they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._keys = array("i")
        self._documents = array("i")
        self._counts = array("H")
        self._num_documents = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Take in the next document: how often it has each key."""
        numbers = self._numbers
        for key, count in counts.items():
            self._keys.append(numbers.setdefault(key, len(numbers)))
            self._counts.append(min(count, _MOST_COUNTED))
        self._documents.extend([self._num_documents] * len(counts))
        self._num_documents += 1

    def finish(self) -> Postings:
        """Sort what was collected."""
        hashes = np.array([_hash(key) for key in self._numbers], dtype=np.uint64)
        by_hash = np.argsort(hashes)
        place_of = np.empty_like(by_hash)
        place_of[by_hash] = np.arange(len(by_hash))
        places = place_of[np.frombuffer(self._keys, dtype=np.int32)] if self._keys else by_hash
        assert len(np.unique(hashes)) == len(hashes), "two keys have one hash"
        order = np.argsort(places, kind="stable")
        ends = np.cumsum(np.bincount(places, minlength=len(hashes)), dtype=np.int64)
        return Postings(
            hashes_K=hashes[by_hash],
            starts_K1=np.concatenate(([0], ends)).astype(np.int64),
            documents_P=np.array(self._documents, dtype=np.int32)[order],
            counts_P=np.array(self._counts, dtype=np.uint16)[order],
        )


def _hash(key: str) -> np.uint64:
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))
