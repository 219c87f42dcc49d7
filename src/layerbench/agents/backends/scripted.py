"""Backend with scripted responses, for tests and for trying out environments."""

from collections.abc import Callable, Iterable, Sequence

from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.trie import TokenTrie

Script = Callable[[Query], Sequence[int]]


class ScriptedBackend:
    """Takes responses from a function instead of a model.

    Attributes:
        queries: All queries so far.
        released: Numbers of the released episodes.

    Args:
        script: Gives the token ids of the response to a query, end token included.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.queries: list[Query] = []
        self.released: list[int] = []

    def sample(self, queries: Sequence[Query]) -> list[Sample]:
        """Respond to each query by the script, with log-probability 0."""
        self.queries += queries
        return [_sample(query, tuple(self._script(query))) for query in queries]

    def release(self, episodes: Iterable[int]) -> None:
        """Note which episodes were released."""
        self.released += episodes


def _sample(query: Query, token_ids: tuple[int, ...]) -> Sample:
    allowed_ids: tuple[tuple[int, ...], ...] = ()
    if query.choices:
        trie = TokenTrie(query.choices)
        # A KeyError here means that the script left the trie, which a model cannot do.
        allowed_ids = tuple(trie.allowed(token_ids[:depth]) for depth in range(len(token_ids)))
    return Sample(token_ids, (0.0,) * len(token_ids), allowed_ids)
