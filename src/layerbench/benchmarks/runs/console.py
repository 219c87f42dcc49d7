"""Progress of a run: a line a step, on stderr with progress bars or in a log file."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import MofNCompleteColumn, ProgressColumn, Task
from rich.text import Text

from layerbench.benchmarks.records import fitting, run_table
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.text import duration
from layerbench.benchmarks.runs.time_left import TimeLeft
from layerbench.progress_bars import progress_bars, stderr_console
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.types import UpdateStats

_ROUNDING = 1e-4  # nats
_SILENCE_S = 30.0
"""Longest time without a line about a batch that is being played."""


@runtime_checkable
class Reporter(Protocol):
    """Receives progress events of a run."""

    def say(self, line: str) -> None:
        """Receive a line of text, for all other events."""
        ...

    def loading(self, what: str) -> None:
        """Receive the name of what is loaded next."""
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
    """Writes to stderr, with progress bars on a terminal; a context manager.

    Args:
        console: Where to; None for stderr.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or stderr_console()
        self._bars = progress_bars(self._console, MofNCompleteColumn(), _TimeLeftColumn())
        self._training = self._bars.add_task("iterations", visible=False)
        self._episodes = self._bars.add_task("play", visible=False)
        self._batch = _Batch(clock)
        self._left = TimeLeft(clock)
        self._said_where = False

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
        fitting.print_above(self._console, line)

    def loading(self, what: str) -> None:
        # For who waits at a terminal: elsewhere, a mistake in the settings is one line on stderr.
        if self._console.is_terminal:
            self.say(f"loading {what}")

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        line = self._batch.line(what, done=done, episodes=episodes)
        if line and not self._console.is_terminal:
            self.say(line)
        if self._batch.is_new:
            self._bars.reset(
                self._episodes, description=what, total=episodes, visible=True, left=None
            )
        self._bars.update(self._episodes, completed=done, left=self._batch.seconds_left)

    def evaluated(self, evaluation: Evaluation) -> None:
        self._left.evaluated(evaluation)
        self.say(evaluation_line(evaluation))

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        """Move the bar, and print a line with the time left."""
        left = self._left.trained(metrics, iterations=iterations)
        self._bars.update(
            self._training,
            completed=metrics.iteration + 1,
            total=iterations,
            visible=True,
            left=left,
        )
        width = self._console.width if self._console.is_terminal else None
        line = iteration_line(metrics, iterations=iterations, left=left, width=width)
        self.say(line)
        if " play " not in line and not self._said_where:
            self._said_where = True
            self.say("(a wider terminal shows more, and the run's metrics.jsonl has all)")


class SilentReporter:
    """Drops all events, in every process of a run but the first."""

    def say(self, line: str) -> None:
        return None

    def loading(self, what: str) -> None:
        return None

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        return None

    def evaluated(self, evaluation: Evaluation) -> None:
        return None

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        return None


class LogReporter:
    """Appends lines to a log file, which is created by the first.

    Args:
        path: The file.
        clock: Gives the time in seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._lines: list[str] = []
        self._batch = _Batch(clock)
        self._left = TimeLeft(clock)

    def say(self, line: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._lines.append(f"{now} {line}\n")
        # While tasks and model are loaded there is no folder: a mistake leaves none behind.
        if self._path.parent.is_dir():
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(self._lines)
            self._lines.clear()

    def loading(self, what: str) -> None:
        self.say(f"loading {what}")

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        if line := self._batch.line(what, done=done, episodes=episodes):
            self.say(line)

    def evaluated(self, evaluation: Evaluation) -> None:
        self._left.evaluated(evaluation)
        self.say(evaluation_line(evaluation))

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        """Append a line with the time left."""
        left = self._left.trained(metrics, iterations=iterations)
        self.say(iteration_line(metrics, iterations=iterations, left=left))


class _Batch:
    """The batch that is being played, and when a line is due about it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._what = ""
        self._started = self._said = 0.0
        self.is_new = False
        self.seconds_left: float | None = None

    def line(self, what: str, *, done: int, episodes: int) -> str:
        """Note how far the batch is, and write the line that is due; empty if none is."""
        now = self._clock()
        # Every training batch has the same name: `done` of 0 alone marks the next one.
        self.is_new = what != self._what or done == 0
        if self.is_new:
            self._what, self._started, self._said = what, now, now
            self.seconds_left = None
            return f"{what}: {episodes} episodes"
        if done == episodes:
            self.seconds_left = None
            return ""
        self.seconds_left = (now - self._started) / done * (episodes - done)
        if now - self._said < _SILENCE_S:
            return ""
        self._said = now
        return f"{what}: {done}/{episodes} episodes, about {duration(self.seconds_left)} left"


class _TimeLeftColumn(ProgressColumn):
    """The time left by a task's field ``left``, in seconds."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text("" if left is None else f"about {duration(left)} left")


def evaluation_line(evaluation: Evaluation) -> str:
    """Write an evaluation's score and time as a line."""
    return f"{run_table.summary(evaluation)}  {evaluation.seconds:.0f} s"


def iteration_line(
    metrics: IterationMetrics,
    *,
    iterations: int,
    left: float | None = None,
    width: int | None = None,
) -> str:
    """Write an iteration's metrics as a line; ``-`` is what was not measured.

    Args:
        metrics: The metrics.
        iterations: Number of iterations of the run.
        left: Seconds that the run still takes; None if it is unknown.
        width: Columns of the terminal, for which metrics are left out; None for all of them.
    """
    groups = f"{metrics.mixed_groups}/{metrics.groups} groups mixed"
    success = f"success {metrics.success:.2f}"
    # The most important have the lowest rank; the number of the iteration and success always stay.
    fields = [
        (0, f"iteration {metrics.iteration + 1}/{iterations}"),
        (0, f"{success} ({metrics.episodes} episodes, {groups})"),
        (3, f"reward {metrics.reward:.2f}"),
        *_learned(metrics, at_terminal=width is not None),
        (8, f"play {metrics.play_s:.1f} s"),
        (8, f"update {metrics.update_s:.1f} s"),
        (1, "" if left is None else f"about {duration(left)} left"),
    ]
    if width is not None:
        fields[1:2] = [(0, success), (2, groups)]
    return fitting.fitted_fields([field for field in fields if field[1]], width)


def _learned(metrics: IterationMetrics, *, at_terminal: bool) -> list[tuple[int, str]]:
    """Write what the update measured, or why there was none, with the rank of each."""
    update = metrics.update
    if not update.steps:
        why = _why_nothing(metrics)
        # Apart where there may be no room: the reason would take the time left away with it.
        apart = [(1, "nothing learned"), (4, why)]
        return apart if at_terminal else [(1, f"{why}: nothing learned")]
    return [
        (4, f"kl {_number(update.kl, 4)}"),
        (6, f"clip {_number(update.clip_fraction, 3)}"),
        (7, f"entropy {_number(update.entropy, 2)}"),
        (5, f"grad {_number(update.grad_norm, 2)}"),
        (3, _mismatch(update)),
    ]


def _why_nothing(metrics: IterationMetrics) -> str:
    """Say why an iteration took no optimizer step."""
    # With one action to choose from, a turn has no decision to learn from.
    return "no decision had an advantage" if metrics.mixed_groups else "no group's returns differed"


def _mismatch(update: UpdateStats) -> str:
    """Say how far the engine that played was off, where that is more than float32's rounding."""
    if update.capped is None and (update.mismatch or 0.0) < _ROUNDING:
        return ""
    capped = "" if update.capped is None else f" (capped {_number(update.capped, 3)})"
    return f"mismatch {_number(update.mismatch, 4)}{capped}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
