"""Running a sweep: the base model of every seed first, then what is trained."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerbench.benchmarks.runs.error_log import failure_log
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.benchmarks.sweep.launchers import Launch
from layerbench.benchmarks.sweep.plan import PlannedRun, State, SweepPlan

LOOK_EVERY_S = 1.0
APPEAR_S = 60.0
"""How long a record may take to be seen here after it was written on another machine."""


@dataclass(slots=True)
class Sweep:
    """A sweep under way.

    What is complete, or running elsewhere, is known from the run folders alone, so that two
    sweeps over the same folders, or a sweep and a run, share their work.

    Attributes:
        plan: What to run.
        launch: Carries out runs, and returns once all of them have ended.
        batch: Runs handed over at once; None for all.
        say: Hears what keeps the sweep waiting.
        error_log: Where a launcher that breaks down leaves its traceback.
        failed: Why runs failed, by title.
    """

    plan: SweepPlan
    launch: Launch
    batch: int | None
    say: Callable[[str], None]
    error_log: Path
    failed: dict[str, str] = field(default_factory=dict[str, str])

    def run(self) -> None:
        """Run all that is not complete; failed runs are noted and hold up no others."""
        # The trained runs take the base evaluation of their seed over.
        self._finish(self.plan.base)
        self._finish(self.plan.trained)

    def _finish(self, runs: Sequence[PlannedRun]) -> None:
        todo, waiting = list(runs), False
        while todo := [run for run in todo if self._is_wanted(run)]:
            free = [run for run in todo if not run.folder.held][: self.batch]
            if free:
                self._launch(free)
                waiting = False
                continue
            if not waiting:
                held = ", ".join(run.title for run in todo)
                self.say(f"waiting for what another process is running: {held}")
                waiting = True
            time.sleep(LOOK_EVERY_S)

    def _is_wanted(self, run: PlannedRun) -> bool:
        return run.title not in self.failed and run.state() is not State.COMPLETE

    def _launch(self, runs: Sequence[PlannedRun]) -> None:
        try:
            outcomes = self.launch([run.config for run in runs])
        # An engine that breaks down may raise anything; what it had finished is in the folders.
        except Exception as error:
            with failure_log(self.error_log) as logger:
                logger.exception("the launcher failed")
            reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            lost = f"the launcher failed: {reason} (see {self.error_log})"
            outcomes = [Outcome(Status.FAILED, lost)] * len(runs)
        for run, outcome in zip(runs, outcomes, strict=True):
            self._note(run, outcome)

    def _note(self, run: PlannedRun, outcome: Outcome) -> None:
        if outcome.status is Status.HELD:
            return
        if outcome.status is Status.DONE and not _appears(run):
            self.failed[run.title] = (
                f"finished, but there is no {run.folder.record} here: run_root must be a folder "
                "that all workers share"
            )
        # An engine may have failed after the run was done.
        if outcome.status is Status.FAILED and run.state() is not State.COMPLETE:
            self.failed[run.title] = outcome.message


def _appears(run: PlannedRun) -> bool:
    deadline = time.monotonic() + APPEAR_S
    while run.state() is not State.COMPLETE:
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True
