"""How long a worker of a pool may take to answer."""

MEASURED = 0.0
"""In place of a time: it follows from how long answers have taken."""

LONGEST_S = 300.0
"""Longest time for an answer, where no setting says otherwise."""

SHORTEST_S = 60.0
"""A measured limit is no shorter: an environment may think longer now and then."""

_TIMES_SLOWEST = 100
_ENOUGH = 20


class AnswerLimit:
    """The longest time for an answer: a given one, or one that is measured.

    A measured one is ``LONGEST_S`` at first, and after some answers a hundred times the slowest of
    them, from ``SHORTEST_S`` to ``LONGEST_S``.

    Args:
        timeout_s: The time in seconds, or ``MEASURED``.
    """

    def __init__(self, timeout_s: float) -> None:
        self._fixed_s = timeout_s
        self._slowest_s = 0.0
        self._noted = 0

    @property
    def seconds(self) -> float:
        """The limit now."""
        if self._fixed_s != MEASURED:
            return self._fixed_s
        if self._noted < _ENOUGH:
            return LONGEST_S
        return min(LONGEST_S, max(SHORTEST_S, _TIMES_SLOWEST * self._slowest_s))

    def note(self, seconds: float) -> None:
        """Take in how long an answer took, of a worker that had answered before."""
        self._slowest_s = max(self._slowest_s, seconds)
        self._noted += 1
