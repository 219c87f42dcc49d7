"""Metrics of training iterations, and their file ``metrics.jsonl``."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench import files
from layerbench.agents.types import StopReason, Trajectory
from layerbench.rl.advantages import is_mixed
from layerbench.rl.types import UpdateStats


@dataclass(frozen=True, slots=True)
class IterationMetrics:
    """One line of ``metrics.jsonl``.

    Attributes:
        iteration: Number of the iteration, from 0.
        episodes: Episodes played.
        failed: Episodes whose environment failed; they count as lost, and nothing is learned from
            them.
        groups: Groups played.
        mixed_groups: Groups whose episodes did not all score the same: ``advantages.is_mixed``.
        success: Share of the episodes that succeeded.
        reward: Mean reward of an episode, as the environment gave it.
        turns: Mean number of turns of an episode.
        valid: Share of the turns whose response named an admissible action; 1 without turns.
        learning_rate: Learning rate of this iteration, before any multiplier.
        update: What the optimizer steps did.
        play_s: Seconds spent playing.
        update_s: Seconds spent on the update.
        replayed: Episodes played again because their worker process was lost.
    """

    iteration: int
    episodes: int
    failed: int
    groups: int
    mixed_groups: int
    success: float
    reward: float
    turns: float
    valid: float
    learning_rate: float
    update: UpdateStats
    play_s: float
    update_s: float
    replayed: int = 0

    def comparable(self) -> "IterationMetrics":
        """Give the metrics without times and replays: equal for two runs with the same seed."""
        return dataclasses.replace(self, play_s=0.0, update_s=0.0, replayed=0)


def iteration_metrics(
    iteration: int,
    played: Sequence[Sequence[Trajectory]],
    update: UpdateStats,
    *,
    rate: float,
    play_s: float,
    update_s: float,
) -> IterationMetrics:
    """Compute the metrics of an iteration.

    Args:
        iteration: Number of the iteration, from 0.
        played: Its episodes by group, at least one.
        update: What the update reported.
        rate: Learning rate used.
        play_s: Seconds spent playing.
        update_s: Seconds spent on the update.
    """
    episodes = [trajectory for group in played for trajectory in group]
    turns = [turn for trajectory in episodes for turn in trajectory.turns]
    return IterationMetrics(
        iteration=iteration,
        episodes=len(episodes),
        failed=sum(trajectory.stop is StopReason.ERROR for trajectory in episodes),
        groups=len(played),
        mixed_groups=sum(map(is_mixed, played)),
        success=sum(trajectory.success for trajectory in episodes) / len(episodes),
        reward=sum(turn.reward for turn in turns) / len(episodes),
        turns=len(turns) / len(episodes),
        valid=sum(turn.valid for turn in turns) / len(turns) if turns else 1.0,
        learning_rate=rate,
        update=update,
        play_s=play_s,
        update_s=update_s,
        replayed=sum(trajectory.replayed for trajectory in episodes),
    )


def append_metrics(path: Path, metrics: IterationMetrics) -> None:
    """Add a line to ``metrics.jsonl``."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(metrics))


def rewrite_metrics(path: Path, history: Sequence[IterationMetrics]) -> None:
    """Replace ``metrics.jsonl``, by one rename, with the lines of a history."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, "".join(map(_line, history)).encode())


def to_row(metrics: IterationMetrics) -> dict[str, Any]:
    """Flatten an iteration's metrics to one row: the keys of ``metrics.jsonl``."""
    row = dataclasses.asdict(metrics)
    times = {name: row.pop(name) for name in ("play_s", "update_s")}
    for name, value in row.pop("update").items():
        row[name] = value
        # What was added to the update later stands behind the times.
        if name == "steps":
            row |= times
    # Left out where nothing was: files of undisturbed runs say nothing of it.
    if replayed := row.pop("replayed"):
        row["replayed"] = replayed
    return row


def from_row(row: Mapping[str, Any]) -> IterationMetrics:
    """Read an iteration's metrics back from its row."""
    # The row is flat: no field of ``UpdateStats`` may have the name of one of ``IterationMetrics``.
    names = {field.name for field in dataclasses.fields(UpdateStats)}
    update = UpdateStats(**{name: value for name, value in row.items() if name in names})
    rest = {name: value for name, value in row.items() if name not in names}
    return IterationMetrics(**rest, update=update)


def _line(metrics: IterationMetrics) -> str:
    # NaN is no JSON: Python would read it back, other readers of the file would not.
    return json.dumps(to_row(metrics), allow_nan=False) + "\n"
