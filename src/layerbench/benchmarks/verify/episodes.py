"""Checks the stored episodes: whether they give the counts of the record."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from layerbench.agents.types import StopReason
from layerbench.benchmarks.config import evaluations
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.html.turn_scores import Row
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.runs.evaluation import requests
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong
from layerbench.envs.actions import admits
from layerbench.envs.types import Task

# Report at most this many contradictions of a kind.
_MAX_REPORTED = 3

_Episode = Sequence[Row]


def check_episodes(submission: Submission) -> Iterator[Remark]:
    """Recount the stored episodes, and check each for contradictions."""
    path = submission.folder.episodes
    if not path.exists():
        yield Unchecked(f"counts: there is no {path.name} beside the record")
        return
    try:
        rows = episodes.read(path)
    except (ValueError, OSError) as error:
        yield Wrong(str(error))
        return
    stored = {key: list(part) for key, part in groupby(rows, key=episodes.evaluation_of)}
    # groupby takes only adjacent rows together: an evaluation in two pieces is there twice.
    if len(stored) < sum(1 for _ in groupby(rows, key=episodes.evaluation_of)):
        yield Wrong(f"{path.name} has evaluations in pieces")
    for evaluation in submission.record.evaluations:
        part = stored.pop(evaluation.key, [])
        for what in _contradictions(evaluation, part, submission):
            yield Wrong(f"evaluation {evaluation.key}: {what}")
    for key in stored:
        yield Wrong(f"{path.name} has an evaluation {key}, the record has none")


def _contradictions(
    evaluation: Evaluation, rows: Sequence[Row], submission: Submission
) -> Iterator[str]:
    played = [list(episode) for _, episode in groupby(rows, key=lambda row: row["episode"])]
    numbers = [episode[0]["episode"] for episode in played]
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
        f"episode {episode[0]['episode']} {what}"
        for episode in played
        for what in _broken_rules(episode, submission.config)
    )


def _first_few(lines: Iterator[str]) -> Iterator[str]:
    reported = list(lines)
    yield from reported[:_MAX_REPORTED]
    if len(reported) > _MAX_REPORTED:
        yield f"and {len(reported) - _MAX_REPORTED} more of that kind"


def _plan_differs(
    evaluation: Evaluation, played: Sequence[_Episode], submission: Submission
) -> Iterator[str]:
    """Compare each episode's task and seed with those that the settings give."""
    config = submission.config
    planned = requests(
        # Sampling seeds depend on positions alone: ids suffice, without an environment.
        [Task(outcome.task_id) for outcome in evaluation.outcomes],
        episodes_per_task=evaluations.episodes_a_task(config, evaluation.temperature),
        seeds=(config.eval.seed, config.seed),
    )
    # Lengths differ where a task has more or fewer episodes than the settings say, which
    # `check_evaluations` reports.
    for number, (episode, request) in enumerate(zip(played, planned, strict=False)):
        first = episode[0]
        if first["task"] != request.task.task_id:
            yield f"episode {number} is of task {first['task']}, not {request.task.task_id}"
        elif first["seed"] != request.seed:
            yield f"episode {number} has seed {first['seed']}, the settings give {request.seed}"


def _outcome_differs(evaluation: Evaluation, played: Sequence[_Episode]) -> Iterator[str]:
    """Recount each task's episodes."""
    won, failed = Counter[str](), Counter[str]()
    kinds: dict[str, str] = {}
    for episode in played:
        first = episode[0]
        broke = first["stop"] == StopReason.ERROR
        won[first["task"]] += bool(first["success"]) and not broke
        failed[first["task"]] += broke
        kinds[first["task"]] = kinds.get(first["task"]) or first["task_type"]
    for outcome in evaluation.outcomes:
        task = outcome.task_id
        recorded = (outcome.count.successes, outcome.count.failed, outcome.task_type)
        stored = (won[task], failed[task], kinds.get(task, ""))
        if recorded != stored:
            yield (
                f"task {task} has {recorded[0]} won, {recorded[1]} failed, kind {recorded[2]!r}, "
                f"stored are {stored[0]} won, {stored[1]} failed, kind {stored[2]!r}"
            )


def _totals_differ(evaluation: Evaluation, played: Sequence[_Episode]) -> Iterator[str]:
    turns = [row for episode in played for row in episode if row["turn"] is not None]
    invalid = sum(not row["valid"] for row in turns)
    stops = dict(Counter(episode[0]["stop"] for episode in played))
    if stops != dict(evaluation.stops):
        yield f"its stops are {dict(evaluation.stops)}, stored are {stops}"
    # As in the record, rewards of broken episodes do not count.
    paid = sum(row["reward"] for row in turns if row["stop"] != StopReason.ERROR)
    for name, recorded, stored in (
        ("mean_turns", evaluation.mean_turns, len(turns) / len(played)),
        ("invalid_share", evaluation.invalid_share, invalid / max(len(turns), 1)),
        ("mean_return", evaluation.mean_return, paid / len(played)),
    ):
        if not math.isclose(recorded, stored, rel_tol=1e-9, abs_tol=1e-12):
            yield f"its {name} is {recorded}, the stored turns give {stored}"


def _broken_rules(episode: _Episode, config: RunConfig) -> Iterator[str]:
    """List what cannot have happened in one episode."""
    first, turns = episode[0], [row for row in episode if row["turn"] is not None]
    if any(row[name] != first[name] for row in episode for name in _SHARED):
        yield "says different things about itself"
    if [row["turn"] for row in turns] != list(range(len(turns))):
        yield "lacks turns"
    if len(turns) > config.env.max_turns:
        yield f"has {len(turns)} turns, the limit is {config.env.max_turns}"
    if first["stop"] == StopReason.TURN_LIMIT and len(turns) < config.env.max_turns:
        yield f"stopped at the limit of {config.env.max_turns} turns after {len(turns)}"
    if any(_valid(row) != row["valid"] for row in turns):
        yield "calls an action admissible that is not, or the reverse"
    # All registered environments reward success.
    if first["success"] and not sum(row["reward"] for row in turns) > 0:
        yield "is won without a reward"


_SHARED = ("task", "task_type", "seed", "success", "stop", "error")


def _valid(row: Row) -> bool:
    # An environment that lists no actions admits every one.
    admissible: list[str] = row["admissible"]
    return row["action"] is not None and (not admissible or admits(admissible, row["action"]))
