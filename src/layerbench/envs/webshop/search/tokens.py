"""Text to index terms, as Lucene's standard English analysis does.

In this order: words by the boundaries of UAX #29, lower case, no possessive ending, no stop words,
Porter's stems.
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
# Beside today's pictographs those of Unicode 11 to 15, by which Lucene's tables were made.
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
_SHORTEST_STEMMED = 3


def terms_of(text: str) -> list[str]:
    """List the index terms of a text, in order and with repeats.

    >>> terms_of("The men's T-shirts: 28x30, possibly washable")
    ['men', 't', 'shirt', '28x30', 'possibl', 'washabl']
    """
    return [term for word in words_of(text.lower()) if (term := _term(word))]


def words_of(text: str) -> list[str]:
    """Split a text into its words: letters, numbers and pictures, no punctuation."""
    return _WORD.findall(text)


@functools.lru_cache(maxsize=200_000)
def _term(word: str) -> str:
    """Give a lower-case word's term, or nothing for a stop word."""
    if word.endswith(_POSSESSIVES):
        word = word[:-2]
    if word in STOP_WORDS or len(word) < _SHORTEST_STEMMED:
        return "" if word in STOP_WORDS else word
    return _stem(word)


# It declares no types.
_stemmer: Any = Stemmer.Stemmer("porter")  # pyright: ignore
# Porter's own program departs from his paper (1980) in two endings, and Lucene follows the program.
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
    """Tell whether a vowel is followed by a consonant: Porter's m > 0."""
    after_vowel = False
    vowel = True  # So that a y at the beginning is a consonant, as it is after a vowel.
    for letter in stem:
        vowel = letter in "aeiou" or (letter == "y" and not vowel)
        if after_vowel and not vowel:
            return True
        after_vowel = after_vowel or vowel
    return False
