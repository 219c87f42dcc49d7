"""Counts problems to score that are, nearly, problems to train on."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import islice

from rapidfuzz import fuzz

_GRAM = 6
# Of the texts that share a run of words, so many are compared with a text.
_COMPARED = 20
_NEAR = 90.0
# Scripts without blanks between words: each character is one.
_CHARACTER = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


def count_near(train: Iterable[str], test: Iterable[str]) -> int:
    """Count the texts of ``test`` that are nearly one of ``train``.

    Nearly: 90 of 100 characters alike, of at most 20 that share six words in a row, or all words
    of a shorter text; case and punctuation do not count.

    >>> says = "Ann has {} red apples and eats one of them. How many are left?"
    >>> count_near([says.format(5)], [says.format(6), "Why is the sky blue, and not green?"])
    1
    """
    texts = list(map(_loose, test))
    # Dictionaries, since sets have no order.
    index: dict[str, dict[int, None]] = defaultdict(dict)
    for place, text in enumerate(texts):
        for gram in _grams(text):
            index[gram][place] = None
    num_near = 0
    for text in map(_loose, train):
        sharing = [index[gram] for gram in _grams(text) if gram in index]
        candidates = {place for places in sharing for place in islice(places, _COMPARED)}
        for place in sorted(candidates):
            if fuzz.ratio(text, texts[place], score_cutoff=_NEAR):
                num_near += 1
                # Found once; the next text is compared with others.
                for gram in _grams(texts[place]):
                    del index[gram][place]
    return num_near


def report(train: Collection[str], test: Collection[str]) -> str:
    """Say in a line how many texts of ``test`` ``count_near`` counts."""
    return f"{count_near(train, test)} of {len(test):,} problems of test are nearly one of train's"


def _grams(text: str) -> set[str]:
    words = text.split(" ")
    return {" ".join(words[i : i + _GRAM]) for i in range(max(1, len(words) - _GRAM + 1))}


def _loose(text: str) -> str:
    kept = re.sub(r"[^\w\s+*/=<>^-]+", " ", text.lower())
    return " ".join(_CHARACTER.sub(r" \1 ", kept).split())
