"""Texts become the index terms of Lucene's English analyzer."""

import pytest

from layerbench.envs.webshop.search.tokens import terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("t-shirt 3.5mm 1,000 a.b", ["t", "shirt", "3.5mm", "1,000", "a.b"]),
        ("men's 5'10 'quoted'", ["men's", "5'10", "quoted"]),
        ("x_y __ _a_", ["x_y", "_a_"]),
        ("28\"x28\" 18x18", ["28", "x28", "18x18"]),
        ("\u2605\u2605 5 \u2606", ["\u2605", "\u2605", "5"]),
        ("\U0001f44d\U0001f3fd \U0001f600ok", ["\U0001f44d\U0001f3fd", "\U0001f600", "ok"]),
        ("\u65e5\u672c caf\u00e9", ["\u65e5", "\u672c", "caf\u00e9"]),
        ("\u30ab\u30bf\u30ab\u30ca", ["\u30ab\u30bf\u30ab\u30ca"]),
        ("... --- !!!", []),
    ],
)  # fmt: skip
def test_words_end_where_the_unicode_standard_ends_them(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_stop_words_and_possessives_go() -> None:
    assert terms_of("The women\u2019s hats, and it's for the boss's desk") == [
        "women", "hat", "boss", "desk"
    ]  # fmt: skip


# From Porter's own program, which Lucene follows: bli becomes ble and logi becomes log where the
# rest has a vowel before a consonant; his paper knows abli alone.
@pytest.mark.parametrize(
    ("word", "stem"),
    [("possibly", "possibl"), ("assemblies", "assembl"), ("doubly", "doubli"), ("ably", "abli"),
     ("technologies", "technolog"), ("dermatology", "dermatolog"), ("geology", "geologi"),
     ("yyyology", "yyyolog"), ("syllogy", "syllog")],
)  # fmt: skip
def test_stems_depart_from_the_paper_where_the_program_does(word: str, stem: str) -> None:
    assert terms_of(word) == [stem]
