"""Lucene's BM25, with bitwise equal scores.

Robertson and Zaragoza (2009) in Lucene's form: without the factor k1 + 1, with document lengths
rounded to a byte, in single precision and with operations in the same order.

Shapes: N documents.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from layerbench.envs.webshop.row_file import mapped
from layerbench.envs.webshop.search import postings
from layerbench.envs.webshop.search.postings import Postings, PostingsBuilder
from layerbench.envs.webshop.search.tokens import terms_of

K1, B = np.float32(0.9), np.float32(0.4)
"""Pyserini's defaults, which WebShop leaves as they are."""

_MAX_TERMS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents for a query, best first.

    Attributes:
        documents: The documents' numbers.
        scores: Their scores, positive.
    """

    documents: tuple[int, ...]
    scores: tuple[float, ...]


class BM25:
    """A search index over texts.

    Args:
        terms: Postings of the terms.
        lengths_N: The documents' lengths in terms, encoded by ``encode_length``.
        ranks_N: Order of documents with equal scores, smaller first.
        total_terms: Number of terms in all documents.
    """

    def __init__(
        self,
        terms: Postings,
        lengths_N: UInt8[np.ndarray, " N"],
        ranks_N: Int32[np.ndarray, " N"],
        *,
        total_terms: int,
    ) -> None:
        self._terms = terms
        self._lengths_N = lengths_N
        self._ranks_N = ranks_N
        self._total_terms = total_terms
        # Like Lucene, documents without terms count neither here nor in the mean length.
        self._num_documents = int(np.count_nonzero(lengths_N))
        self._inverse_norms = _inverse_norms(max(total_terms, 1) / max(self._num_documents, 1))

    def search(self, query: str, *, count: int) -> Ranking:
        """Rank the documents that share a term with the query; return the best ``count``."""
        # Lucene sums in double precision and rounds once at the end.
        sums_N = np.zeros(len(self._lengths_N))
        for term, repeats in Counter(terms_of(query)).items():
            documents, counts = self._terms.find(term)
            if len(documents):
                lengths = self._lengths_N[documents]
                sums_N[documents] += self._weigh(counts, lengths, repeats=repeats)
        scores_N = sums_N.astype(np.float32)
        best = _best(scores_N, self._ranks_N, count)
        return Ranking(tuple(best.tolist()), tuple(scores_N[best].tolist()))

    def _weigh(
        self, counts: np.ndarray, lengths: np.ndarray, *, repeats: int
    ) -> Float32[np.ndarray, " p"]:
        """Score one term, ``repeats`` times in the query, in the documents that contain it."""
        rarity = (self._num_documents - len(counts) + 0.5) / (len(counts) + 0.5)
        weight = np.float32(repeats) * np.float32(math.log(1 + rarity))
        frequencies = counts.astype(np.float32)
        # Lucene's form of weight * tf / (tf + norm), needed for equal rounding.
        return weight - weight / (np.float32(1) + frequencies * self._inverse_norms[lengths])

    def save(self, folder: Path) -> None:
        """Write the index into a new folder."""
        folder.mkdir()
        self._terms.save(folder / "terms")
        np.save(folder / "lengths.npy", self._lengths_N)
        np.save(folder / "ranks.npy", self._ranks_N)
        np.save(folder / "total_terms.npy", np.int64(self._total_terms))


def load(folder: Path) -> BM25:
    """Map an index from a folder of ``BM25.save``."""
    return BM25(
        postings.load(folder / "terms"),
        mapped(folder / "lengths.npy"),
        mapped(folder / "ranks.npy"),
        total_terms=int(mapped(folder / "total_terms.npy")),
    )


def build(documents: Iterable[tuple[str, str]]) -> BM25:
    """Index documents, given as (id, text); of equal scores the smaller id ranks first."""
    builder = PostingsBuilder()
    lengths: list[int] = []
    ids: list[str] = []
    total = 0
    for name, text in documents:
        terms = terms_of(text)
        builder.add(Counter(terms))
        lengths.append(encode_length(len(terms)))
        ids.append(name)
        total += len(terms)
    ranks_N = np.empty(len(ids), dtype=np.int32)
    ranks_N[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return BM25(builder.finish(), np.array(lengths, dtype=np.uint8), ranks_N, total_terms=total)


def encode_length(length: int) -> int:
    """Round a length down to one of 256, as Lucene's ``SmallFloat.intToByte4``.

    >>> [decode_length(encode_length(length)) for length in (5, 39, 40, 100, 1000)]
    [5, 39, 40, 96, 984]
    """
    exact = 255 - _encode(_MAX_TERMS)
    return length if length < exact else exact + _encode(length - exact)


def decode_length(code: int) -> int:
    """Return the length that a byte encodes."""
    exact = 255 - _encode(_MAX_TERMS)
    return code if code < exact else exact + _decode(code - exact)


def _encode(number: int) -> int:
    """Keep the four highest bits of a number, like Lucene's ``SmallFloat.longToInt4``."""
    shift = number.bit_length() - 4
    return number if shift < 0 else ((number >> shift) & 0x07) | ((shift + 1) << 3)


def _decode(code: int) -> int:
    shift = (code >> 3) - 1
    return code & 0x07 if shift < 0 else ((code & 0x07) | 0x08) << shift


def _inverse_norms(mean_length: float) -> Float32[np.ndarray, " 256"]:
    """Return 1 / (k1 (1 - b + b length / mean)) for every byte."""
    lengths = np.array([decode_length(code) for code in range(256)], dtype=np.float32)
    return np.float32(1) / (K1 * ((np.float32(1) - B) + B * lengths / np.float32(mean_length)))


def _best(scores_N: np.ndarray, ranks_N: np.ndarray, count: int) -> np.ndarray:
    matches = np.flatnonzero(scores_N)
    if len(matches) > count:
        # Keep all with at least the score of the last place, as ties there are settled by rank.
        scores = scores_N[matches]
        matches = matches[scores >= np.partition(scores, -count)[-count]]
    return matches[np.lexsort((ranks_N[matches], -scores_N[matches]))][:count]
