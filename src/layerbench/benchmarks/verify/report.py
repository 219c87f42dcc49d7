"""Runs all checks of one record, and reports their remarks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.text import plain
from layerbench.benchmarks.verify.episodes import check_episodes
from layerbench.benchmarks.verify.evaluations import (
    check_best,
    check_differences,
    check_evaluations,
    check_tasks,
)
from layerbench.benchmarks.verify.fields import (
    check_identity,
    check_provenance,
    check_selection,
    check_training,
)
from layerbench.benchmarks.verify.files import check_config, check_metrics
from layerbench.benchmarks.verify.replay import check_replay
from layerbench.benchmarks.verify.submission import (
    Check,
    Remark,
    Submission,
    Tell,
    Unchecked,
    Wrong,
)
from layerbench.benchmarks.verify.tasks_here import located
from layerbench.benchmarks.verify.weights import check_weights

_CHECKS: Mapping[str, Check] = {
    "identity": check_identity,
    "selection": check_selection,
    "training": check_training,
    "provenance": check_provenance,
    "evaluations": check_evaluations,
    "tasks": check_tasks,
    "differences": check_differences,
    "best temperatures": check_best,
    "episodes": check_episodes,
    "replay": check_replay,
    "config": check_config,
    "metrics": check_metrics,
    "weights": check_weights,
}


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of the checks of one record.

    Attributes:
        path: Path of the record.
        remarks: Pairs of a check's name and a remark, in the order of the checks.
        passed: Names of the checks without remarks: nothing is wrong, nothing left unchecked.
    """

    path: Path
    remarks: tuple[tuple[str, Remark], ...]
    passed: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Contradictions, one line each."""
        return tuple(r.what for _, r in self.remarks if isinstance(r, Wrong))

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Parts that could not be checked, one line each."""
        return tuple(r.what for _, r in self.remarks if isinstance(r, Unchecked))

    def lines(self) -> Iterator[str]:
        """Write the report for the terminal."""
        yield f"record {self.path}"
        for name, remark in self.remarks:
            kind = "wrong" if isinstance(remark, Wrong) else "unchecked"
            # Remarks quote submitted files, whose control characters must not reach a terminal.
            yield f"{kind:10} {name}: {plain(' '.join(remark.what.split()))}"
        if self.passed:
            yield f"{'ok':10} {', '.join(self.passed)}"
        yield f"{len(self.wrong)} wrong, {len(self.unchecked)} could not be checked"


def _tell_nobody(_what: str, _done: int, _total: int | None) -> None:
    pass


def check(path: Path, tell: Tell = _tell_nobody) -> Report:
    """Check a record against itself and against the files that lie beside it.

    Nothing in it is trusted: what it names is read, never run.

    Args:
        path: The ``record.json``, or its folder.
        tell: Receives what is being checked; the replay of many episodes takes minutes.

    Raises:
        SettingsError: ``path`` leads to no file.
    """
    file = path / "record.json" if path.is_dir() else path
    if not file.is_file():
        raise SettingsError(f"{file} is no file: name a record.json or its folder")
    try:
        record = run_record.read(file)
        config = serialize.restore(record.settings)
    except (ValueError, OSError) as error:
        # Without fields and settings no other check can run.
        return Report(file, (("form", Wrong(str(error))),), ())
    env, obstacle = located(record.env, config.env)
    here = replace(config, env=env)
    submission = Submission(RunFolder(file.parent), record, config, here, tell, obstacle)
    remarks: list[tuple[str, Remark]] = []
    passed = ["form"]
    for name, run in _CHECKS.items():
        tell(name, 0, None)
        own_remarks = list(_remarks(run, submission))
        remarks += [(name, remark) for remark in own_remarks]
        passed += [name] if not own_remarks else []
    return Report(file, tuple(remarks), tuple(passed))


def _remarks(run: Check, submission: Submission) -> Iterator[Remark]:
    try:
        yield from run(submission)
    # What lies beside the record is a stranger's as well, and may not even be readable.
    except (OSError, ArithmeticError) as error:
        yield Unchecked(f"it ended by {type(error).__name__}: {error}")
