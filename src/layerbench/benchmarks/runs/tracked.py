"""Sends a run's metrics to trackers, which the run outlives."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records import metrics_log, sealed
from layerbench.benchmarks.records.record_sections import Evaluation, iteration_of_phase
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_PHASE, BEST_PHASE, FINAL_PHASE
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.trackers.feed import Feed
from layerbench.benchmarks.trackers.types import TrackedRun
from layerbench.rl.metrics import IterationMetrics, to_row

_KEY_DIGITS = 16


class TrackedReporter:
    """Passes all events on, and sends what was measured to trackers.

    A step is a number of iterations: metrics of an iteration are at the step before it, since its
    episodes were played by the weights of that step, and evaluations at that of their weights.

    Args:
        reporter: Receives all events, and a line for each tracker that is lost.
        config: The settings.
        folder: Folder of the run, locked by the caller.
    """

    def __init__(self, reporter: Reporter, config: RunConfig, folder: RunFolder) -> None:
        self._reporter = reporter
        self._config = config
        self._folder = folder
        self._feeds: list[Feed] | None = None
        self._sent = 0

    def say(self, line: str) -> None:
        self._reporter.say(line)

    def loading(self, what: str) -> None:
        self._reporter.loading(what)

    def playing(self, what: str, *, done: int, episodes: int) -> None:
        self._reporter.playing(what, done=done, episodes=episodes)
        if self._feeds is None:
            self._feeds = self._start()

    def evaluated(self, evaluation: Evaluation) -> None:
        """Send an evaluation at the step of its iteration, after the metrics that come first."""
        self._reporter.evaluated(evaluation)
        if evaluation.phase == BEST_PHASE:
            # Its iteration's evaluation was sent when it was played; steps of trackers only grow.
            return
        step = self._step(evaluation.phase)
        # Those of iterations that an earlier start made come first: steps of trackers grow.
        self._catch_up(step)
        named = {
            "success": evaluation.count.rate,
            "return": evaluation.mean_return,
            "turns": evaluation.mean_turns,
            "invalid": evaluation.invalid_share,
        }
        where = f"eval/{evaluation.split}"
        if (temperature := evaluation.temperature) != self._config.eval.temperatures[0]:
            where += f"/T{temperature:g}" if temperature else "/greedy"
        self._log({f"{where}/{name}": value for name, value in named.items()}, step=step)

    def trained(self, metrics: IterationMetrics, *, iterations: int) -> None:
        self._reporter.trained(metrics, iterations=iterations)
        self._catch_up(metrics.iteration)
        self._log_row(to_row(metrics))

    def finish(self, *, finished: bool) -> None:
        """End all trackers, once they have stored what they were sent."""
        with ExitStack() as stack:
            # Also if the wait is interrupted.
            feeds = [stack.enter_context(closing(feed)) for feed in self._feeds or ()]
            for feed in feeds:
                if reason := feed.finish(finished=finished):
                    self._say_lost(feed, reason)

    def _start(self) -> list[Feed]:
        state = self._folder.first_state()
        run = TrackedRun(
            name=self._folder.path.resolve().name,
            # The folder may be that of another run by now (--fresh), or lie elsewhere.
            key=sealed.digest([state.started, state.settings_sha256, state.source])[:_KEY_DIGITS],
            folder=self._folder.path.resolve(),
            settings=serialize.flattened(serialize.as_dict(self._config)),
        )
        return [Feed(name, run) for name in self._config.track]

    def _step(self, phase: str) -> int:
        ends = {BASE_PHASE: 0, FINAL_PHASE: self._config.train.iterations}
        iteration = iteration_of_phase(phase)
        return ends[phase] if iteration is None else iteration

    def _catch_up(self, iteration: int) -> None:
        """Send the iterations before this one that were not reported, from the run's own file."""
        if self._sent < iteration:
            for row in metrics_log.read_so_far(self._folder.metrics)[self._sent : iteration]:
                self._log_row(row)

    def _log_row(self, row: Mapping[str, Any]) -> None:
        iteration = row["iteration"]
        measured = {
            f"train/{name}": float(value)
            for name, value in row.items()
            if name != "iteration" and value is not None
        }
        self._log(measured, step=iteration)
        self._sent = max(self._sent, iteration + 1)

    def _log(self, values: Mapping[str, float], *, step: int) -> None:
        if self._feeds is None:
            self._feeds = self._start()
        lost = [(feed, reason) for feed in self._feeds if (reason := feed.lost())]
        for feed, reason in lost:
            self._say_lost(feed, reason)
            feed.close()
            self._feeds.remove(feed)
        for feed in self._feeds:
            feed.log(values, step=step)

    def _say_lost(self, feed: Feed, reason: str) -> None:
        kept = self._folder.metrics.name
        self.say(f"track={feed.name} is lost, {kept} is not: {reason}")


@contextmanager
def tracked(reporter: Reporter, config: RunConfig, folder: RunFolder) -> Generator[Reporter]:
    """Give a reporter that sends to the trackers of the settings, and end them with the context."""
    if not config.track:
        yield reporter
        return
    tracking, finished = TrackedReporter(reporter, config, folder), False
    try:
        yield tracking
        finished = True
    finally:
        # Also after Ctrl-C: what was sent is stored.
        tracking.finish(finished=finished)
