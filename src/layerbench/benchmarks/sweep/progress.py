"""Progress of a running sweep, polled from the run folders: lines, and bars on a terminal."""

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import TaskID, TextColumn

from layerbench.benchmarks.records import fitting, metrics_log, run_record, run_table
from layerbench.benchmarks.records.text import duration
from layerbench.benchmarks.stats.success import pooled
from layerbench.benchmarks.sweep.plan import PlannedRun, State, SweepPlan
from layerbench.progress_bars import progress_bars, stderr_console

POLL_INTERVAL_S = 1.0


class SweepProgress:
    """Polls the run folders, and reports changes on stderr; use as a context manager.

    Args:
        plan: The runs.
        console: Where to report; None for stderr.
    """

    def __init__(self, plan: SweepPlan, console: Console | None = None) -> None:
        self._plan = plan
        self._console = console or stderr_console()
        self._bars = progress_bars(self._console, TextColumn("{task.fields[status]}"))
        self._states = {run.title: run.state() for run in plan.runs}
        self._running: dict[str, TaskID] = {}
        self._total = self._bars.add_task("sweep", total=len(plan.runs), status="")
        self._pace = _Pace(self._iterations())
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._poll_until_stopped, daemon=True)

    def __enter__(self) -> "SweepProgress":
        self._bars.start()
        self._watcher.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._watcher.join()
        self._bars.stop()

    def say(self, line: str) -> None:
        """Write a line."""
        fitting.print_above(self._console, line)

    def _poll_until_stopped(self) -> None:
        while not self._stopped.wait(POLL_INTERVAL_S):
            self._poll()
        # Runs that ended since the last poll.
        self._poll()

    def _poll(self) -> None:
        for run in self._plan.runs:
            before = self._states[run.title]
            if before is State.COMPLETE:
                # Reading a record takes longer than all else here.
                continue
            state = self._states[run.title] = run.state()
            if state is not before:
                self._report_change(run, state)
            if state is State.HELD:
                self._update_bar(run)
            elif run.title in self._running:
                self._bars.remove_task(self._running.pop(run.title))
        self._update_total()

    def _report_change(self, run: PlannedRun, state: State) -> None:
        match state:
            case State.HELD:
                done = run.iterations_done
                self.say(f"start  {run.title}{f', after iteration {done}' if done else ''}")
            case State.COMPLETE:
                self.say(f"done   {run.title}  {_scores(run)}  {self._progress()}")
            case State.UNFINISHED if run.folder.error_log.exists():
                self.say(f"failed {run.title}  see {run.folder.error_log}")
            case _:
                pass

    def _update_bar(self, run: PlannedRun) -> None:
        """Update the bar of a run in flight."""
        if run.title not in self._running:
            self._running[run.title] = self._bars.add_task(run.title, status="")
        last = run.config.train.iterations
        history = metrics_log.read_so_far(run.folder.metrics)
        status = f"{len(history)}/{last}" if run.trains else "scoring"
        if history:
            status += f"  success {history[-1]['success']:.2f}"
        self._bars.update(
            self._running[run.title],
            total=last if run.trains else None,
            completed=len(history),
            status=status,
        )

    def _update_total(self) -> None:
        done = sum(state is State.COMPLETE for state in self._states.values())
        self._bars.update(self._total, completed=done, status=self._progress())

    def _progress(self) -> str:
        """Say how many runs are done and in flight, and how long the others take."""
        states = list(self._states.values())
        status = f"{states.count(State.COMPLETE)}/{len(states)} runs"
        if in_flight := states.count(State.HELD):
            status += f", {in_flight} in flight"
        left = self._pace.seconds_left(self._iterations())
        return status if left is None else f"{status}, about {duration(left)} left"

    def _iterations(self) -> tuple[int, int]:
        """Count the iterations done and planned, over all runs."""
        trained = self._plan.trained
        planned = sum(run.config.train.iterations for run in trained)
        complete = [run for run in trained if self._states[run.title] is State.COMPLETE]
        done = sum(run.config.train.iterations for run in complete)
        others = [run for run in trained if self._states[run.title] is not State.COMPLETE]
        return done + sum(run.iterations_done for run in others), planned


class _Pace:
    """Iterations a second since the sweep started, earlier starts left out."""

    def __init__(self, done_and_planned: tuple[int, int]) -> None:
        self._done_at_start = done_and_planned[0]
        self._started = time.monotonic()

    def seconds_left(self, done_and_planned: tuple[int, int]) -> float | None:
        """Estimate the time left; None before the first iteration."""
        done, planned = done_and_planned
        progress = done - self._done_at_start
        elapsed = time.monotonic() - self._started
        # A run that starts over takes its iterations back: then there is no pace yet.
        return elapsed * (planned - done) / progress if progress > 0 else None


def _scores(run: PlannedRun) -> str:
    record = run_record.read(run.folder.record)
    # Evaluations are in the order played: of each split, the last one stays.
    # Trials of a rate score validation tasks alone.
    last = {e.split: e for e in record.scored or record.evaluations}
    return "  ".join(f"{split} {run_table.score(pooled(e.outcomes))}" for split, e in last.items())
