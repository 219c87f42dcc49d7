"""Replays the stored actions: whether the environment answers as the episodes say."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from layerbench.agents.types import StopReason
from layerbench.benchmarks.errors import UserError
from layerbench.benchmarks.html.turn_scores import Row
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.records.record_sections import EvaluationKey
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.benchmarks.verify.evaluations import chosen_tasks, played_splits
from layerbench.benchmarks.verify.submission import Remark, Submission, Tell, Unchecked, Wrong
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, Task

# Report at most this many mismatching episodes.
_MAX_REPORTED = 3
_SLOT = 0


def check_replay(submission: Submission) -> Iterator[Remark]:
    """Replay every stored episode by its actions, so that an invented success shows.

    Episodes whose environment broke are left out.
    """
    config = submission.here
    if not submission.folder.episodes.exists():
        yield Unchecked(f"replay: there is no {submission.folder.episodes.name}")
        return
    if submission.obstacle:
        yield Unchecked(f"replay: {submission.obstacle}")
        return
    try:
        rows = episodes.read(submission.folder.episodes)
        tasks = {split: _tasks(submission, split) for split in played_splits(config)}
    except (ValueError, TypeError, OSError) as error:
        yield Unchecked(f"replay: {error}")
        return
    try:
        with open_pool(config.env, one_by_one=True) as pool:
            differ = list(_replays(pool, tasks, rows, submission.tell))
    except UserError as error:
        yield Wrong(f"the environment does not play: {error}")
        return
    yield from map(Wrong, differ[:_MAX_REPORTED])
    if len(differ) > _MAX_REPORTED:
        yield Wrong(f"and {len(differ) - _MAX_REPORTED} more episodes come out otherwise")


def _tasks(submission: Submission, split: str) -> Mapping[str, Task]:
    """List the tasks that the settings choose on a split, by id."""
    scored = next((e.outcomes for e in submission.record.evaluations if e.split == split), ())
    chosen = chosen_tasks(submission.here, split, most=len(scored))
    return {task.task_id: task for task in chosen}


def _replays(
    pool: EnvPool, tasks: Mapping[str, Mapping[str, Task]], rows: Sequence[Row], tell: Tell
) -> Iterator[str]:
    episodes_of_rows = [(key, list(turns)) for key, turns in groupby(rows, key=_episode)]
    for done, ((key, number), played) in enumerate(episodes_of_rows):
        tell("replay", done, len(episodes_of_rows))
        task = tasks.get(key.split, {}).get(played[0]["task"])
        # check_tasks reports a task that the settings do not choose.
        if task is None or played[0]["stop"] == StopReason.ERROR:
            continue
        if what := _difference(pool, task, played):
            yield f"{key} episode {number}, played again: {what}"


def _episode(row: Row) -> tuple[EvaluationKey, int]:
    return episodes.evaluation_of(row), row["episode"]


def _difference(pool: EnvPool, task: Task, played: Sequence[Row]) -> str:
    """Describe the first mismatch between an episode and its replay; empty if there is none."""
    start = pool.reset({_SLOT: task})[_SLOT]
    if isinstance(start, EpisodeFailure):
        return f"the environment broke: {start.reason}"
    # If the actions run out before the environment ends the episode, the context was full.
    observation, stop, success = start.observation, StopReason.CONTEXT_FULL, False
    for turn, row in enumerate(played):
        if row["turn"] is None:
            break
        if stop is not StopReason.CONTEXT_FULL:
            return f"it is over after turn {turn}"
        if not _matches(observation, row):
            return f"another observation or other actions at turn {turn + 1}"
        # As in play: a response without an action steps the environment with an empty one.
        result = pool.step({_SLOT: row["action"] or ""})[_SLOT]
        if isinstance(result, EpisodeFailure):
            return f"the environment broke: {result.reason}"
        if result.reward != row["reward"]:
            return f"turn {turn + 1} is paid {result.reward:g}, not {row['reward']:g}"
        observation, success = result.observation, result.success
        if result.terminated or result.truncated:
            stop = StopReason.TERMINATED if result.terminated else StopReason.TURN_LIMIT
    # An episode that the context cut off counts as lost, even if its goal holds by then.
    success = success and stop is not StopReason.CONTEXT_FULL
    first = played[0]
    if (stop, success) != (first["stop"], first["success"]):
        return f"it ends by {stop}, success {success}, not {first['stop']}, {first['success']}"
    return ""


def _matches(observation: Observation, row: Row) -> bool:
    return (
        observation.text == row["observation"]
        and list(observation.admissible_actions) == row["admissible"]
    )
