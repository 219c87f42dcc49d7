"""The turns that a run stored: whether they make the counts of its record."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from layerbench.agents.types import StopReason
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.html.turn_scores import Row
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.records.run_record import Evaluation
from layerbench.benchmarks.runs.evaluation import requests
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong
from layerbench.envs.actions import admits
from layerbench.envs.types import Task

# Of many episodes that are wrong alike, so many are named.
_NAMED = 3

_Episode = Sequence[Row]


def check_episodes(submission: Submission) -> Iterator[Remark]:
    """Count the stored episodes again, and look at each."""
    path = submission.folder.episodes
    if not path.exists():
        yield Unchecked(f"counts: there is no {path.name} beside the record")
        return
    try:
        rows = episodes.read(path)
    except (ValueError, OSError) as error:
        yield Wrong(str(error))
        return
    stored = {place: list(own) for place, own in groupby(rows, key=_place)}
    if len(stored) < sum(1 for _ in groupby(rows, key=_place)):
        yield Wrong(f"{path.name} has evaluations in pieces")
    for evaluation in submission.record.evaluations:
        place = (evaluation.phase, evaluation.split)
        own = stored.pop(place, [])
        for what in _contradictions(evaluation, own, submission):
            yield Wrong(f"evaluation {evaluation.phase} {evaluation.split}: {what}")
    for phase, split in stored:
        yield Wrong(f"{path.name} has an evaluation {phase} {split}, the record has none")


def _place(row: Row) -> tuple[str, str]:
    return row["phase"], row["split"]


def _contradictions(
    evaluation: Evaluation, rows: Sequence[Row], submission: Submission
) -> Iterator[str]:
    played = [list(own) for _, own in groupby(rows, key=lambda row: row["episode"])]
    numbers = [own[0]["episode"] for own in played]
    if numbers != list(range(evaluation.count.planned)):
        yield (
            f"the record has {evaluation.count.planned} episodes, "
            f"{len(numbers)} are stored, or not in their order"
        )
        return
    yield from _first_few(_plan_differs(evaluation, played, submission))
    yield from _first_few(_outcome_differs(evaluation, played))
    yield from _totals_differ(evaluation, played)
    yield from _first_few(
        f"episode {own[0]['episode']} {what}"
        for own in played
        for what in _broken_rules(own, submission.config)
    )


def _first_few(lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    yield from found[:_NAMED]
    if len(found) > _NAMED:
        yield f"and {len(found) - _NAMED} more of that kind"


def _plan_differs(
    evaluation: Evaluation, played: Sequence[_Episode], submission: Submission
) -> Iterator[str]:
    """Compare tasks and seeds with those that the settings ask for."""
    config = submission.config
    asked = requests(
        [Task(outcome.task_id) for outcome in evaluation.outcomes],
        episodes_per_task=config.eval.episodes_per_task,
        seeds=(config.eval.seed, config.seed),
    )
    for number, (own, request) in enumerate(zip(played, asked, strict=False)):
        if own[0]["task"] != request.task.task_id:
            yield f"episode {number} is of task {own[0]['task']}, not {request.task.task_id}"
        elif own[0]["seed"] != request.seed:
            yield f"episode {number} has seed {own[0]['seed']}, the settings give {request.seed}"


def _outcome_differs(evaluation: Evaluation, played: Sequence[_Episode]) -> Iterator[str]:
    """Count each task's episodes again."""
    won, failed = Counter[str](), Counter[str]()
    kinds: dict[str, str] = {}
    for own in played:
        first = own[0]
        broke = first["stop"] == StopReason.ERROR
        won[first["task"]] += bool(first["success"]) and not broke
        failed[first["task"]] += broke
        kinds[first["task"]] = kinds.get(first["task"]) or first["task_type"]
    for outcome in evaluation.outcomes:
        task = outcome.task_id
        said = (outcome.count.successes, outcome.count.failed, outcome.task_type)
        found = (won[task], failed[task], kinds.get(task, ""))
        if said != found:
            yield (
                f"task {task} has {said[0]} won, {said[1]} failed, kind {said[2]!r}, "
                f"stored are {found[0]} won, {found[1]} failed, kind {found[2]!r}"
            )


def _totals_differ(evaluation: Evaluation, played: Sequence[_Episode]) -> Iterator[str]:
    turns = [row for own in played for row in own if row["turn"] is not None]
    invalid = sum(not row["valid"] for row in turns)
    stops = dict(Counter(own[0]["stop"] for own in played))
    if stops != dict(evaluation.stops):
        yield f"its stops are {dict(evaluation.stops)}, stored are {stops}"
    paid = sum(row["reward"] for row in turns if row["stop"] != StopReason.ERROR)
    for name, said, found in (
        ("mean_turns", evaluation.mean_turns, len(turns) / len(played)),
        ("invalid_share", evaluation.invalid_share, invalid / max(len(turns), 1)),
        ("mean_return", evaluation.mean_return, paid / len(played)),
    ):
        if not math.isclose(said, found, rel_tol=1e-9, abs_tol=1e-12):
            yield f"its {name} is {said}, the stored turns give {found}"


def _broken_rules(own: _Episode, config: RunConfig) -> Iterator[str]:
    """Say what cannot have happened in one episode."""
    first, turns = own[0], [row for row in own if row["turn"] is not None]
    if any(row[name] != first[name] for row in own for name in _SHARED):
        yield "says different things about itself"
    if [row["turn"] for row in turns] != list(range(len(turns))):
        yield "lacks turns"
    if len(turns) > config.env.max_turns:
        yield f"has {len(turns)} turns, the limit is {config.env.max_turns}"
    if first["stop"] == StopReason.TURN_LIMIT and len(turns) < config.env.max_turns:
        yield f"stopped at the limit of {config.env.max_turns} turns after {len(turns)}"
    if any(_valid(row) != row["valid"] for row in turns):
        yield "calls an action admissible that is not, or the reverse"
    # Every environment there is pays for success, and only in the end.
    if first["success"] and not sum(row["reward"] for row in turns) > 0:
        yield "is won without a reward"


_SHARED = ("task", "task_type", "seed", "success", "stop", "error")


def _valid(row: Row) -> bool:
    admissible: list[str] = row["admissible"]
    return row["action"] is not None and (not admissible or admits(admissible, row["action"]))
