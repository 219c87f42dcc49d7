"""Finds the runs of one side of a comparison."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from layerbench.benchmarks.comparison.types import Run, Side
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import comparability, discover
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FINAL_PHASE,
    FULL_SELECTION,
)
from layerbench.benchmarks.records.text import plain

_MOST_NAMED = 8  # selections in an error


def find(typed: str, phase: str | None) -> Side:
    """Read the runs of one policy.

    Args:
        typed: ``PATH`` or ``SELECTION@PATH``: a record, or a folder that is searched at any depth.
        phase: Phase of the evaluations; None for ``final``, and ``base`` where nothing was trained.

    Raises:
        SettingsError: There is no such path, no run of the phase or selection, or several policies.
    """
    asked, path = _parse(typed)
    found = discover.find([path])
    if not found.finished:
        reason = f": {found.broken[0].reason}" if found.broken else ""
        raise SettingsError(f"{path} has no record of a finished run that can be read{reason}")
    phase = phase or (BASE_PHASE if asked == BASE_SELECTION else None)
    if phase == BASE_PHASE and asked in (None, BASE_SELECTION):
        # Every run scored the base model.
        chosen, selection = list(found.finished), BASE_SELECTION
    else:
        chosen, selection = _of_one_selection(found.finished, asked, typed)
    phase = phase or (BASE_PHASE if selection == BASE_SELECTION else FINAL_PHASE)
    runs = [(run, e) for run in chosen if (e := _evaluations(run, phase))]
    if not runs:
        played = sorted({e.phase for run in chosen for e in run.record.scored})
        raise SettingsError(plain(f"{typed} has no {phase} evaluation, but {', '.join(played)}"))
    kept, notes = _by_seed(runs, selection)
    _check_one_policy(kept, typed, untrained=phase == BASE_PHASE)
    notes += [f"left out: {plain(str(b.path))}: {plain(b.reason)}" for b in found.broken]
    notes += [f"not finished: {plain(str(folder))}" for folder in found.unfinished]
    # A base evaluation of a trained run is of the base model.
    name = BASE_SELECTION if phase == BASE_PHASE else selection
    return Side(typed, name, phase, dict(sorted(kept.items())), tuple(notes))


def _parse(typed: str) -> tuple[str | None, Path]:
    selection, at, path = typed.partition("@")
    # A path may have an @ of its own.
    if not at or Path(typed).exists():
        return None, Path(typed)
    return selection, Path(path)


def _of_one_selection(
    runs: Sequence[FoundRecord], asked: str | None, typed: str
) -> tuple[list[FoundRecord], str]:
    by_name: defaultdict[str, list[FoundRecord]] = defaultdict(list)
    for run in runs:
        by_name[run.record.selection.name].append(run)
    names = sorted(by_name)
    if asked is not None:
        if asked not in by_name:
            raise SettingsError(f"{typed}: no run there trained '{asked}', but {_shown(names)}")
        return by_name[asked], asked
    # A sweep's base model stands beside what was trained.
    trained = [name for name in names if name != BASE_SELECTION] or names
    if len(trained) > 1:
        raise SettingsError(
            f"{typed} has runs of several selections ({_shown(trained)}): name one, as in "
            f"{plain(trained[0])}@{typed}"
        )
    return by_name[trained[0]], trained[0]


def _shown(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MOST_NAMED else ""
    return plain(", ".join(names[:_MOST_NAMED]) + more)


def _evaluations(run: FoundRecord, phase: str) -> dict[str, Evaluation]:
    record = run.record
    played = {(e.phase, e.split) for e in record.scored}
    return {
        split: record.evaluation(phase=phase, split=split)
        for split in record.env.eval_splits
        if (phase, split) in played
    }


def _by_seed(
    runs: Sequence[tuple[FoundRecord, dict[str, Evaluation]]], selection: str
) -> tuple[dict[int, Run], list[str]]:
    """Keep one run a seed, as a leaderboard does."""
    kept: dict[int, Run] = {}
    notes: list[str] = []
    ranks = {BASE_SELECTION: 0, FULL_SELECTION: 1}

    def order(item: tuple[FoundRecord, object]) -> tuple[int, str, Path]:
        record = item[0].record
        # The base model's own run counts first, then full training's.
        rank = ranks.get(record.selection.name, 2) if selection == BASE_SELECTION else 0
        return rank, record.started, item[0].path

    for found, evaluations in sorted(runs, key=order):
        seed = found.record.seed
        first = kept.setdefault(seed, Run(found, evaluations))
        # All runs of a sweep score the base model: nothing is lost.
        if first.found is not found and selection != BASE_SELECTION:
            notes.append(
                f"left out: {plain(str(found.path))}: same selection and seed as "
                f"{plain(str(first.found.path))}"
            )
    return kept, notes


def _check_one_policy(runs: Mapping[int, Run], typed: str, *, untrained: bool) -> None:
    first, *others = runs.values()
    for other in others:
        differ = comparability.differing(
            first.found.record, other.found.record, trained=not untrained
        )
        lists = [task_list(run.evaluations) for run in (first, other)]
        if lists[0] != lists[1]:
            differ.append("tasks")
        if differ:
            raise SettingsError(
                f"{typed} has runs that differ in more than the seed: "
                f"{plain(', '.join(differ[:_MOST_NAMED]))}; name a folder with one policy"
            )


def splits(side: Side) -> set[str]:
    """List the splits that all runs of a side scored."""
    first, *others = (set(run.evaluations) for run in side.runs.values())
    return first.intersection(*others)


def task_list(evaluations: Mapping[str, Evaluation]) -> dict[str, list[tuple[str, int]]]:
    """List tasks and their numbers of episodes by split."""
    return {split: list(tasks_of(evaluation)) for split, evaluation in evaluations.items()}


def tasks_of(evaluation: Evaluation) -> Iterable[tuple[str, int]]:
    """Go through the tasks of an evaluation, with their numbers of episodes."""
    return ((outcome.task_id, outcome.count.planned) for outcome in evaluation.outcomes)
