"""The stored actions played again: whether the environment answers as it is said to have."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from layerbench.agents.types import StopReason
from layerbench.benchmarks.html.turn_scores import Row
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.runs.player import open_pool
from layerbench.benchmarks.verify.evaluations import chosen_tasks
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, Task

# Of many episodes that came out otherwise, so many are named.
_NAMED = 3
_SLOT = 0


def check_replay(submission: Submission) -> Iterator[Remark]:
    """Play every stored episode again by its actions.

    A success that nobody had cannot be replayed. Episodes whose environment broke are left out.
    """
    config = submission.config
    if not submission.folder.episodes.exists():
        yield Unchecked(f"replay: there is no {submission.folder.episodes.name}")
        return
    try:
        rows = episodes.read(submission.folder.episodes)
        tasks = {split: _tasks(submission, split) for split in config.env.eval_splits}
    except (ValueError, TypeError, OSError) as error:
        yield Unchecked(f"replay: {error}")
        return
    with open_pool(config.env, one_by_one=True) as pool:
        differ = list(_replays(pool, tasks, rows))
    yield from map(Wrong, differ[:_NAMED])
    if len(differ) > _NAMED:
        yield Wrong(f"and {len(differ) - _NAMED} more episodes come out otherwise")


def _tasks(submission: Submission, split: str) -> Mapping[str, Task]:
    """Find the tasks of a split; none where the record's are not those that were chosen."""
    scored = next((e.outcomes for e in submission.record.evaluations if e.split == split), ())
    chosen = chosen_tasks(submission.config, split, most=len(scored))
    return {task.task_id: task for task in chosen}


def _replays(
    pool: EnvPool, tasks: Mapping[str, Mapping[str, Task]], rows: Sequence[Row]
) -> Iterator[str]:
    for (phase, split, number), own in groupby(rows, key=_episode):
        played = list(own)
        task = tasks.get(split, {}).get(played[0]["task"])
        if task is None or played[0]["stop"] == StopReason.ERROR:
            continue
        what = _difference(pool, task, played)
        if what:
            yield f"{phase} {split} episode {number}, played again: {what}"


def _episode(row: Row) -> tuple[str, str, int]:
    return row["phase"], row["split"], row["episode"]


def _difference(pool: EnvPool, task: Task, played: Sequence[Row]) -> str:
    """Say where an episode comes out otherwise; empty if it does not."""
    start = pool.reset({_SLOT: task})[_SLOT]
    if isinstance(start, EpisodeFailure):
        return f"the environment broke: {start.reason}"
    seen, stop, success = start.observation, StopReason.CONTEXT_FULL, False
    for place, row in enumerate(played):
        if row["turn"] is None:
            break
        if stop is not StopReason.CONTEXT_FULL:
            return f"it is over after turn {place}"
        if not _is_seen(seen, row):
            return f"another observation or other actions at turn {place + 1}"
        result = pool.step({_SLOT: row["action"] or ""})[_SLOT]
        if isinstance(result, EpisodeFailure):
            return f"the environment broke: {result.reason}"
        if result.reward != row["reward"]:
            return f"turn {place + 1} is paid {result.reward:g}, not {row['reward']:g}"
        seen, success = result.observation, result.success
        if result.terminated or result.truncated:
            stop = StopReason.TERMINATED if result.terminated else StopReason.TURN_LIMIT
    # What was cut off by the agent's context is lost, whatever holds by then.
    success = success and stop is not StopReason.CONTEXT_FULL
    said = played[0]
    if (stop, success) != (said["stop"], said["success"]):
        return f"it ends by {stop}, success {success}, not {said['stop']}, {said['success']}"
    return ""


def _is_seen(seen: Observation, row: Row) -> bool:
    return seen.text == row["observation"] and list(seen.admissible_actions) == row["admissible"]
