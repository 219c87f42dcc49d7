import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerbench.agents.trie import TokenTrie

END = 9


@settings(deadline=None, max_examples=50)
@given(st.sets(st.lists(st.integers(0, 3), max_size=4).map(tuple), min_size=1))
def test_paths_through_the_trie_are_exactly_its_sequences(stems: set[tuple[int, ...]]) -> None:
    sequences = {(*stem, END) for stem in stems}
    trie = TokenTrie(sequences)
    complete: set[tuple[int, ...]] = set()
    open_ends: list[tuple[int, ...]] = [()]
    while open_ends:
        prefix = open_ends.pop()
        ids = trie.allowed(prefix)
        assert list(ids) == sorted(set(ids))
        if not ids:
            complete.add(prefix)
        open_ends += [(*prefix, token) for token in ids]
    assert complete == sequences


def test_prefix_outside_the_trie_is_an_error() -> None:
    trie = TokenTrie([(1, 2, END)])
    with pytest.raises(KeyError):
        trie.allowed((1, 3))
    with pytest.raises(KeyError):
        trie.allowed((1, 2, END, END))


@pytest.mark.parametrize("sequences", [[], [()], [(1,), (1, 2)]])
def test_refuses_sequences_without_a_clear_end(sequences: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"trie needs|beginning of another"):
        TokenTrie(sequences)
