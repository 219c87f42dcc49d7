"""An estimate of the time that a run still takes."""

from collections import deque
from collections.abc import Callable

from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import BASE_PHASE
from layerbench.rl.metrics import IterationMetrics

_ITERATIONS = 10
"""Last iterations whose mean is the pace: episodes become longer or shorter as training goes on."""


class TimeLeft:
    """Estimates the time left from the events of a run since it was started or went on.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._paces: deque[float] = deque(maxlen=_ITERATIONS)
        self._scoring = 0.0

    def evaluated(self, evaluation: Evaluation) -> None:
        """Note an evaluation; the final one will take as long as the base evaluation."""
        if evaluation.phase == BASE_PHASE:
            self._scoring += evaluation.seconds
            self._began = self._clock()

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> float:
        """Note an iteration, and estimate the seconds until the run is finished."""
        now = self._clock()
        # By the clock, which counts checkpoints and evaluations between iterations as well.
        began = now - metrics.play_s - metrics.update_s if self._began is None else self._began
        self._paces.append(now - began)
        self._began = now
        pace = sum(self._paces) / len(self._paces)
        return pace * (iterations - metrics.iteration - 1) + self._scoring
