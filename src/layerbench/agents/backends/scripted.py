"""Answers that are known beforehand, for tests and for trying out environments."""

from collections.abc import Callable, Iterable, Sequence

from layerbench.agents.backends.base import Answer, Query
from layerbench.agents.trie import TokenTrie

Script = Callable[[Query], Sequence[int]]


class ScriptedBackend:
    """Asks a function instead of a model.

    Args:
        script: Gives the token ids of the answer to a query, end token included.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.queries: list[Query] = []
        self.released: list[int] = []

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer each query by the script, with log-probability 0; queries are kept to look at."""
        self.queries += queries
        return [_answer(query, tuple(self._script(query))) for query in queries]

    def release(self, episodes: Iterable[int]) -> None:
        """Note which episodes were released."""
        self.released += episodes


def _answer(query: Query, token_ids: tuple[int, ...]) -> Answer:
    allowed_ids: tuple[tuple[int, ...], ...] = ()
    if query.choices:
        trie = TokenTrie(query.choices)
        allowed_ids = tuple(trie.allowed(token_ids[:depth]) for depth in range(len(token_ids)))
    return Answer(token_ids, (0.0,) * len(token_ids), allowed_ids)
