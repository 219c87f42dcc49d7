"""Executes a sweep: the base model of every seed first, then the runs that train."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerbench.benchmarks.runs.error_log import failure_log
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.benchmarks.sweep.launchers import Launch
from layerbench.benchmarks.sweep.plan import PlannedRun, State, SweepPlan

POLL_INTERVAL_S = 1.0
RECORD_TIMEOUT_S = 60.0
"""Longest delay of a network file system until a record from another machine is visible here."""


@dataclass(slots=True)
class Sweep:
    """A sweep in execution.

    The run folders alone say which runs are complete or running elsewhere, so that two sweeps over
    the same folders, or a sweep and a run, share their work.

    Attributes:
        plan: The runs.
        launch: Executes runs, and returns when all of them have ended.
        batch: Number of runs for each call of ``launch``; None for all.
        say: Receives a line when the sweep waits for other processes.
        error_log: File for the traceback of a launcher's failure.
        failed: Reasons of failed runs, by title.
    """

    plan: SweepPlan
    launch: Launch
    batch: int | None
    say: Callable[[str], None]
    error_log: Path
    failed: dict[str, str] = field(default_factory=dict[str, str])

    def run(self) -> None:
        """Run all incomplete runs; a failed run is noted in ``failed``, and the others go on."""
        # Runs that train reuse the base evaluation of their seed.
        self._finish(self.plan.base)
        self._finish(self.plan.trained)

    def _finish(self, runs: Sequence[PlannedRun]) -> None:
        todo, waiting = list(runs), False
        # States are read in each round: another sweep may have finished, or given up, some runs.
        while todo := [run for run in todo if self._is_to_do(run)]:
            free = [run for run in todo if not run.folder.held][: self.batch]
            if free:
                self._launch(free)
                waiting = False
                continue
            if not waiting:
                held = ", ".join(run.title for run in todo)
                self.say(f"waiting for what another process is running: {held}")
                waiting = True
            time.sleep(POLL_INTERVAL_S)

    def _is_to_do(self, run: PlannedRun) -> bool:
        return run.title not in self.failed and run.state() is not State.COMPLETE

    def _launch(self, runs: Sequence[PlannedRun]) -> None:
        try:
            outcomes = self.launch([run.config for run in runs])
        # Launchers raise errors of many kinds; runs that they finished are in the folders.
        except Exception as error:
            with failure_log(self.error_log) as logger:
                logger.exception("the launcher failed")
            reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            message = f"the launcher failed: {reason} (see {self.error_log})"
            outcomes = [Outcome(Status.FAILED, message)] * len(runs)
        for run, outcome in zip(runs, outcomes, strict=True):
            self._note_failure(run, outcome)

    def _note_failure(self, run: PlannedRun, outcome: Outcome) -> None:
        # No failure: the run stays to do, and the next round looks at its folder again.
        if outcome.status is Status.HELD:
            return
        if outcome.status is Status.DONE and not _record_appears(run):
            self.failed[run.title] = (
                f"finished, but there is no {run.folder.record} here: run_root must be a folder "
                "that all workers share"
            )
        # A launcher may fail after the run was done.
        if outcome.status is Status.FAILED and run.state() is not State.COMPLETE:
            self.failed[run.title] = outcome.message


def _record_appears(run: PlannedRun) -> bool:
    deadline = time.monotonic() + RECORD_TIMEOUT_S
    while run.state() is not State.COMPLETE:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True
