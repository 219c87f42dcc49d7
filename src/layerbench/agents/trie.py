"""A trie of token sequences, for constrained decoding."""

from collections.abc import Iterable, Sequence


class TokenTrie:
    """A set of token sequences, looked up one token at a time.

    No sequence may be the beginning of another, since then its end would be ambiguous; sequences
    that all close with the same end token keep that rule by themselves. Repeats count once.

    >>> trie = TokenTrie([(5, 1, 9), (5, 2, 9), (7, 9)])
    >>> trie.allowed(()), trie.allowed((5,)), trie.allowed((7,)), trie.allowed((7, 9))
    ((5, 7), (1, 2), (9,), ())

    Args:
        sequences: The allowed responses, each with its end token.

    Raises:
        ValueError: There is no sequence, one is empty, or one is the beginning of another.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        unique = {tuple(sequence) for sequence in sequences}
        if not unique or () in unique:
            raise ValueError(f"a trie needs sequences of at least one token, got {sorted(unique)}")
        self._next: dict[tuple[int, ...], set[int]] = {}
        for sequence in unique:
            for depth, token in enumerate(sequence):
                self._next.setdefault(sequence[:depth], set()).add(token)
        # A sequence that goes on is a key here; a complete one is not.
        prefixes = sorted(unique & self._next.keys())
        if prefixes:
            raise ValueError(f"sequence {prefixes[0]} is the beginning of another one")

    def allowed(self, prefix: Sequence[int]) -> tuple[int, ...]:
        """List the ids that may follow, ascending; none if the prefix is complete.

        Raises:
            KeyError: The prefix leads out of the trie.
        """
        ids = self._next.get(tuple(prefix))
        if ids is not None:
            # In a fixed order, since a draw by inversion depends on it.
            return tuple(sorted(ids))
        siblings = self._next.get(tuple(prefix[:-1]), ())
        if not prefix or prefix[-1] not in siblings:
            raise KeyError(f"no sequence of the trie begins with {tuple(prefix)}")
        return ()
