from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerbench.agents.types import ContextMode, StopReason, Trajectory
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.records.record_sections import EvaluationKey
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs import base_reuse
from layerbench.benchmarks.runs.base_reuse import Conditions
from layerbench.benchmarks.sweep.plan import PlannedRun
from tests.support import small_sweep

STATE = RunState(
    started="",
    weights_sha256="ab",
    revision="r1",
    settings_sha256="ef",
    source="keydoor",
    code_sha256="cd",
)
TASKS = ("task-0", "task-1", "task-2", "task-3")
Change = Callable[[Conditions], Conditions]


class RecordingReporter:
    """Collects the lines that are reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def loading(self, *_: object, **__: object) -> None: ...

    def playing(self, *_: object, **__: object) -> None: ...

    def evaluated(self, *_: object, **__: object) -> None: ...

    def trained(self, *_: object, **__: object) -> None: ...


def lost(task: str, *, won: bool = False) -> Trajectory:
    """An episode without turns: one row."""
    return Trajectory(
        task_id=task,
        task_type="",
        seed=0,
        context=ContextMode.TRANSCRIPT,
        turns=(),
        stop=StopReason.TERMINATED,
        success=won,
    )


@pytest.fixture
def runs(tmp_path: Path) -> tuple[PlannedRun, PlannedRun]:
    """The finished base of a seed, with episodes of two splits, and a run that is not started."""
    plan = small_sweep.make(tmp_path)
    [base], run = plan.base, plan.trained[0]
    with base.folder.open(base.config, Start.CONTINUE):
        keys = [EvaluationKey("base", split, 1.0) for split in ("seen", "other")]
        parts = [base.folder.evaluations.table(key) for key in keys]
        played = [lost(task, won=task == "task-1") for task in TASKS]
        for part, key in zip(parts, keys, strict=True):
            episodes.write(part, played, key)
        episodes.merge(base.folder.episodes, parts)
        base.folder.finish(small_sweep.record_of(base))
    return base, run


def conditions(record: RunRecord, run: PlannedRun) -> Conditions:
    """The conditions of a run with the same base evaluation as the record's."""
    settings: Mapping[str, Any] = small_sweep.record_of(run).settings
    tasks = {"seen": [outcome.task_id for outcome in record.evaluations[0].outcomes]}
    return Conditions(settings, record.env, record.model, record.code, record.hardware, tasks)


def reuse(base: PlannedRun, run: PlannedRun, change: Change) -> list[str]:
    reporter = RecordingReporter()
    with run.folder.open(run.config, Start.CONTINUE):
        changed = change(conditions(small_sweep.record_of(base), run))
        base_reuse.reuse_base_evaluation(base.folder, run.folder, STATE, changed, reporter)
    return reporter.lines


def same(unchanged: Conditions) -> Conditions:
    return unchanged


def scores(folder: RunFolder) -> Path:
    return folder.evaluations.path / "base-seen-t1.0.json"


def test_base_evaluation_is_reused(runs: tuple[PlannedRun, PlannedRun]) -> None:
    base, run = runs
    assert reuse(base, run, same) == [f"base evaluation taken over from {base.folder.path}"]
    copied = run.folder.evaluations.read(EvaluationKey("base", "seen", 1.0), STATE)
    assert copied == small_sweep.record_of(base).evaluation(phase="base", split="seen")
    rows = episodes.read(run.folder.evaluations.path / "base-seen-t1.0.parquet")
    assert [(row["split"], row["task"]) for row in rows] == [
        ("seen", "task-0"),
        ("seen", "task-1"),
        ("seen", "task-2"),
        ("seen", "task-3"),
    ]


def settings_with(conditions: Conditions, name: str, **changed: object) -> Conditions:
    """Change settings within a section, or ``seed``, which is no section."""
    new = changed[name] if name in changed else {**conditions.settings[name], **changed}
    return replace(conditions, settings={**conditions.settings, name: new})


DIFFERENT: list[tuple[Change, str]] = [
    (lambda c: settings_with(c, "env", max_turns=3), "setting of env"),
    (lambda c: settings_with(c, "model", threads=2), "setting of model"),
    (lambda c: settings_with(c, "agent", history=3), "setting of agent"),
    (lambda c: settings_with(c, "eval", temperature=0.5), "setting of eval"),
    (lambda c: settings_with(c, "seed", seed=9), "setting of seed"),
    (lambda c: replace(c, env=replace(c.env, version="1")), "environment"),
    (lambda c: replace(c, model=replace(c.model, weights_sha256="ef")), "model"),
    (lambda c: replace(c, code=replace(c.code, revision="r")), "code"),
    # Of two trees with changes that are not committed, the hash tells whether they are equal.
    (lambda c: replace(c, code=replace(c.code, sha256="0" * 64)), "code"),
    (lambda c: replace(c, hardware=replace(c.hardware, device="cuda:0")), "hardware"),
    (lambda c: replace(c, tasks={"seen": ["another"]}), "task list"),
]


@pytest.mark.parametrize(("change", "named"), DIFFERENT)
def test_nothing_is_reused_under_other_conditions(
    runs: tuple[PlannedRun, PlannedRun], change: Change, named: str
) -> None:
    base, run = runs
    [line] = reuse(base, run, change)
    assert line.startswith(
        f"the base model is scored again: {base.folder.path} has another {named}"
    )
    assert not scores(run.folder).exists()


def test_settings_of_training_do_not_matter(runs: tuple[PlannedRun, PlannedRun]) -> None:
    base, run = runs
    reuse(base, run, lambda c: settings_with(c, "train", iterations=9))
    assert scores(run.folder).exists()


def test_a_base_that_is_not_finished_is_not_waited_for(
    runs: tuple[PlannedRun, PlannedRun],
) -> None:
    base, run = runs
    base.folder.record.unlink()
    assert reuse(base, run, same) == []
    assert not scores(run.folder).exists()


@pytest.mark.parametrize("damaged", ["record.json", "episodes.parquet"])
def test_a_damaged_base_is_scored_again(runs: tuple[PlannedRun, PlannedRun], damaged: str) -> None:
    base, run = runs
    (base.folder.path / damaged).write_text("{")
    [line] = reuse(base, run, same)
    assert "cannot be read" in line
    assert not scores(run.folder).exists()


def test_a_base_table_that_is_not_that_of_its_record_is_not_taken(
    runs: tuple[PlannedRun, PlannedRun],
) -> None:
    base, run = runs
    # One of the four episodes on this split, and a table that is otherwise in order.
    episodes.write(base.folder.episodes, [lost("task-0")], EvaluationKey("base", "seen", 1.0))
    [line] = reuse(base, run, same)
    assert "its episodes of task task-1 are not those of its record" in line
    assert not scores(run.folder).exists()


def test_an_evaluation_that_the_run_has_already_stays(runs: tuple[PlannedRun, PlannedRun]) -> None:
    base, run = runs
    reuse(base, run, same)
    before = scores(run.folder).stat()
    reuse(base, run, same)
    after = scores(run.folder).stat()
    # Not the whole: reading it moves the time of the last access.
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
