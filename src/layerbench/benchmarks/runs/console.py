"""Progress of a run: a line a step, on stderr with progress bars or in a log file."""

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from layerbench.benchmarks.records import run_table, text
from layerbench.benchmarks.records.run_record import Evaluation
from layerbench.progress_bars import progress_bars
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.types import UpdateStats

_ROUNDING = 1e-4  # nats


@runtime_checkable
class Reporter(Protocol):
    """Receives progress events of a run."""

    def say(self, line: str) -> None:
        """Receive a line of text, for all other events."""
        ...

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        """Receive the number of finished episodes of a batch."""
        ...

    def evaluated(self, evaluation: Evaluation) -> None:
        """Receive a finished evaluation."""
        ...

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        """Receive the metrics of a finished iteration."""
        ...


class ConsoleReporter:
    """Writes to stderr, with progress bars on a terminal; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = progress_bars(self._console, MofNCompleteColumn(), TimeElapsedColumn())
        self._training = self._bars.add_task("train", visible=False)
        self._episodes = self._bars.add_task("play", visible=False)
        self._playing = ""

    def __enter__(self) -> "ConsoleReporter":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        text.print_lines(self._console, [line])

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        # Every training batch has the same name: `done` of 0 alone marks the next one.
        if what != self._playing or done == 0:
            self._playing = what
            self._bars.reset(self._episodes, description=what, total=episodes, visible=True)
        self._bars.update(self._episodes, completed=done)

    def evaluated(self, evaluation: Evaluation) -> None:
        self.say(evaluation_line(evaluation))

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        self._bars.update(
            self._training, completed=metrics.iteration + 1, total=iterations, visible=True
        )
        self.say(iteration_line(metrics, iterations=iterations))


class SilentReporter:
    """Drops all events, in every process of a run but the first."""

    def say(self, line: str) -> None:
        return None

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        return None

    def evaluated(self, evaluation: Evaluation) -> None:
        return None

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        return None


class LogReporter:
    """Appends lines to a log file, which is created by the first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, line: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{now} {line}\n")

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        if done == 0:
            self.say(f"{what}: {episodes} episodes")

    def evaluated(self, evaluation: Evaluation) -> None:
        self.say(evaluation_line(evaluation))

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        self.say(iteration_line(metrics, iterations=iterations))


def evaluation_line(evaluation: Evaluation) -> str:
    """Write an evaluation's score and time as a line."""
    return f"{run_table.summary(evaluation)}  {evaluation.seconds:.0f} s"


def iteration_line(metrics: IterationMetrics, *, iterations: int) -> str:
    """Write an iteration's metrics as a line; ``-`` is what was not measured."""
    update = metrics.update
    return (
        f"iteration {metrics.iteration + 1}/{iterations}  "
        f"success {metrics.success:.2f} ({metrics.episodes} episodes, "
        f"{metrics.mixed_groups}/{metrics.groups} groups mixed)  reward {metrics.reward:.2f}  "
        f"kl {_number(update.kl, 4)}  clip {_number(update.clip_fraction, 3)}  "
        f"entropy {_number(update.entropy, 2)}  grad {_number(update.grad_norm, 2)}  "
        f"{_mismatch(update)}play {metrics.play_s:.1f} s  update {metrics.update_s:.1f} s"
    )


def _mismatch(update: UpdateStats) -> str:
    """Say how far the engine that played was off, where that is more than float32's rounding."""
    if update.capped is None and (update.mismatch or 0.0) < _ROUNDING:
        return ""
    capped = "" if update.capped is None else f" (capped {_number(update.capped, 3)})"
    return f"mismatch {_number(update.mismatch, 4)}{capped}  "


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
