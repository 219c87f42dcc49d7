"""Search ranks documents as Lucene does, with its scores."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerbench.envs.webshop.catalogue.published import Product
from layerbench.envs.webshop.search import bm25
from layerbench.envs.webshop.search.bm25 import BM25, decode_length, encode_length
from tests.envs.webshop.conftest import oracle

DOCUMENTS = (("C", "red lamp"), ("A", "red chair"), ("B", "red chair"), ("D", "a blue lamp lamp"))


@pytest.fixture(scope="module")
def index(products: list[Product]) -> BM25:
    return bm25.build((product.asin, product.indexed_text()) for product in products)


@pytest.mark.timeout(300)  # Indexing takes its time where every call is type-checked.
def test_every_recorded_ranking_of_lucene_is_ours(index: BM25, products: list[Product]) -> None:
    recorded = oracle("bm25_top50.json.gz")
    assert len(recorded) == 592
    for query in recorded:
        ranking = index.search(query["q"], count=50)
        assert [products[n].asin for n in ranking.documents] == [asin for asin, _ in query["hits"]]
        # Recorded with four decimals.
        assert ranking.scores == pytest.approx([score for _, score in query["hits"]], abs=5.1e-5)


def test_ties_are_settled_by_id_and_nothing_else_is_found() -> None:
    ranking = bm25.build(DOCUMENTS).search("chairs", count=10)
    assert ranking.documents == (1, 2)
    assert ranking.scores[0] == ranking.scores[1]


def test_a_short_list_begins_a_long_one() -> None:
    index = bm25.build(DOCUMENTS)
    long = index.search("red lamp", count=4).documents
    assert len(long) == 4
    assert index.search("red lamp", count=3).documents == long[:3]


def test_a_repeated_word_counts_twice() -> None:
    index = bm25.build(DOCUMENTS)
    once, twice = (index.search(query, count=1).scores[0] for query in ("blue", "blue blue"))
    assert twice == pytest.approx(2 * once)


@pytest.mark.parametrize("query", ["", "the and of", "zebra", "!?"])
def test_a_query_without_known_terms_finds_nothing(query: str) -> None:
    assert bm25.build(DOCUMENTS).search(query, count=10).documents == ()


def test_an_index_of_nothing_finds_nothing() -> None:
    assert bm25.build(()).search("lamp", count=10).documents == ()


def test_a_saved_index_finds_the_same(tmp_path: Path) -> None:
    index = bm25.build(DOCUMENTS)
    index.save(tmp_path / "index")
    assert bm25.load(tmp_path / "index").search("red lamp", count=4) == index.search(
        "red lamp", count=4
    )


@given(st.integers(0, 2**31 - 1))
def test_lengths_are_rounded_down_and_stay_in_order(length: int) -> None:
    code = encode_length(length)
    assert 0 <= code <= 255
    # Four significant bits: less than an eighth is lost.
    assert length * 7 / 8 - 40 < decode_length(code) <= length
    assert encode_length(decode_length(code)) == code
