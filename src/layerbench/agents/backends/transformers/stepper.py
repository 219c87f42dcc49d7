"""Incremental decoding: append tokens to a cached row and get next-token logits.

Shape suffixes: R rows read in one call, K candidate ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Stepper(Protocol):
    """Cached rows of tokens, of different lengths.

    A row is named by a number from ``open``, which stays the same until the row is dropped. Rows
    do not influence each other, beyond rounding.
    """

    def open(self) -> int:
        """Start an empty row."""
        ...

    def extend(
        self, chunks: Mapping[int, Sequence[int]], candidates_RK: Int[Tensor, "R K"] | None = None
    ) -> Float[Tensor, "R K"]:
        """Append tokens to some rows, and score what may come next.

        Args:
            chunks: Tokens to append to each row, at least one.
            candidates_RK: For each chunk, the ids to score; None scores the whole vocabulary.

        Returns:
            Logits after the last token of each chunk, in the order of ``chunks``.
        """
        ...

    def truncate(self, row: int, *, length: int) -> None:
        """Forget all but the first tokens of a row."""
        ...

    def copy(self, row: int) -> int:
        """Start another row with the same tokens."""
        ...

    def drop(self, rows: Iterable[int]) -> None:
        """Forget rows; their numbers may be given out again."""
        ...
