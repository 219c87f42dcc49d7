"""Converts text to index terms like Lucene's English analyzer.

The steps are: words by the boundaries of UAX #29, lower case, possessive endings and stop words
removed, Porter's stems.
"""

import functools
from typing import Any

import regex
import Stemmer

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

_WITHIN = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
_LETTER = r"[[\p{WB=ALetter}\p{WB=Hebrew_Letter}]--\p{LB=SA}]" + _WITHIN
_DIGIT = r"\p{WB=Numeric}" + _WITHIN
_JOIN = r"(?:\p{WB=ExtendNumLet}" + _WITHIN + ")*"
_LETTERS = rf"{_LETTER}(?:[\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]?{_LETTER})*"
_DIGITS = rf"{_DIGIT}(?:[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]?{_DIGIT})*"
# Code points that were pictographs in the Unicode version of Lucene's tables, added to today's.
_PICTOGRAPH = (
    r"[\p{Extended_Pictographic}\u2605\u2607-\u260d\u260f-\u2612\u2616\u2617\u2619-\u266f"
    r"\u2670-\u2685\u2690-\u2705\u2708-\u2712\u2765-\u2767]"
)
_EMOJI = rf"{_PICTOGRAPH}(?:\ufe0f|\p{{Emoji_Modifier}}|\u20e3)*"
_WORD = regex.compile(
    "|".join(
        (
            rf"{_JOIN}(?:(?:{_LETTERS}|{_DIGITS})+{_JOIN})+",
            rf"{_JOIN}(?:\p{{WB=Katakana}}{_WITHIN}{_JOIN})+",
            rf"[\p{{Han}}\p{{Hiragana}}]{_WITHIN}",
            r"\p{LB=SA}+",
            rf"{_EMOJI}(?:\u200d{_EMOJI})*",
        )
    ),
    regex.V1,
)
_POSSESSIVES = ("'s", "\u2019s", "\uff07s")
# Porter's program leaves shorter words as they are.
_MIN_STEMMED_LENGTH = 3


def terms_of(text: str) -> list[str]:
    """List the index terms of a text, in order and with repeats.

    >>> terms_of("The men's T-shirts: 28x30, possibly washable")
    ['men', 't', 'shirt', '28x30', 'possibl', 'washabl']
    """
    return [term for word in words_of(text.lower()) if (term := _term(word))]


def words_of(text: str) -> list[str]:
    """Split a text into words, numbers and emoji, without punctuation."""
    return _WORD.findall(text)


@functools.lru_cache(maxsize=200_000)
def _term(word: str) -> str:
    """Return a lower-case word's term; empty for a stop word."""
    if word.endswith(_POSSESSIVES):
        word = word[:-2]
    if word in STOP_WORDS or len(word) < _MIN_STEMMED_LENGTH:
        return "" if word in STOP_WORDS else word
    return _stem(word)


# Stemmer has no type annotations.
_stemmer: Any = Stemmer.Stemmer("porter")  # pyright: ignore
# Porter's own program departs from his paper (1980) in two endings, and Lucene follows the program:
# -bli becomes -ble and -logi becomes -log where the rest has m > 0. The paper has -abli alone.
_DEPARTING = regex.compile(r"(?:bl|log)(?:y|i|ies|ied|ying)$")


def _stem(word: str) -> str:
    stem = str(_stemmer.stemWord(word))
    if _DEPARTING.search(word):
        if stem.endswith("bli") and _has_measure(stem[:-3]):
            return str(_stemmer.stemWord(f"{stem[:-1]}e"))
        if stem.endswith("logi") and _has_measure(stem[:-4]):
            return stem[:-1]
    return stem


def _has_measure(stem: str) -> bool:
    """Return whether a vowel is followed by a consonant: Porter's m > 0."""
    after_vowel = False
    vowel = True  # A y at the beginning is a consonant, like one after a vowel.
    for letter in stem:
        vowel = letter in "aeiou" or (letter == "y" and not vowel)
        if after_vowel and not vowel:
            return True
        after_vowel = after_vowel or vowel
    return False
