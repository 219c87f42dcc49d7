"""Votes of several runs on tasks that take one answer.

Shape suffixes: N tasks.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from layerbench.benchmarks.comparison import pairing, sides
from layerbench.benchmarks.comparison.types import Side
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import discover, episodes
from layerbench.benchmarks.records.text import plain
from layerbench.benchmarks.stats.paired_test import mean_interval
from layerbench.benchmarks.stats.success import Estimate
from layerbench.benchmarks.stats.voting import Answer, majority
from layerbench.envs.math import answers

FEWEST = 2
"""Voters that a vote takes."""


@dataclass(frozen=True, slots=True)
class Voter:
    """One run.

    Attributes:
        side: The run as a side of a comparison.
        samples: Its answers by task, in the order of the task list, and by sample.
    """

    side: Side
    samples: tuple[tuple[Answer, ...], ...]

    @property
    def solved_N(self) -> Bool[np.ndarray, " N"]:
        """Whether the first sample of each task is right."""
        return np.array([task[0].right for task in self.samples])

    def self_consistency(self, samples: int) -> tuple[float, ...] | None:
        """Vote with this run's own first samples, by task; None where it has too few."""
        if min(map(len, self.samples)) < samples:
            return None
        return tuple(majority(task[:samples]) for task in self.samples)


@dataclass(frozen=True, slots=True)
class Vote:
    """The vote on one split, with the first sample of each voter.

    Attributes:
        split: The split.
        voters: The voters.
        control: A run whose own samples vote, as many as there are voters; None where none was
            named.
        voted: The chance that the vote is right, by task.
    """

    split: str
    voters: tuple[Voter, ...]
    control: Voter | None
    voted: tuple[float, ...]

    @property
    def controls(self) -> list[tuple[str, tuple[float, ...]]]:
        """Runs that have as many samples a task as there are voters, and their own votes."""
        runs = [*([self.control] if self.control else []), *self.voters]
        votes = [(run.side.typed, run.self_consistency(len(self.voters))) for run in runs]
        return [(name, vote) for name, vote in votes if vote is not None]

    def above(self, other: Sequence[float]) -> Estimate:
        """Subtract the rates of another from those of the vote, paired by task."""
        gain_N = np.array(self.voted) - np.array(other)
        return Estimate(float(gain_N.mean()), mean_interval(gain_N))


def vote(paths: Sequence[Path], *, control: Path | None = None) -> tuple[Vote, ...]:
    """Let several runs vote on the tasks that all of them played.

    Args:
        paths: Records, or folders that are searched for them.
        control: A run whose own samples vote as well.

    Raises:
        SettingsError: There are fewer than two runs, they played other tasks, their episodes are
            not at hand, or have more than one turn.
    """
    found = discover.find(paths).finished
    if len(found) < FEWEST:
        raise SettingsError(f"a vote takes at least {FEWEST} runs, found {len(found)}")
    runs = [sides.find(str(run.path), None) for run in found]
    extra = [] if control is None else [sides.find(str(control), None)]
    splits = sides.splits(runs[0])
    for other in [*runs[1:], *extra]:
        splits &= sides.splits(other)
    if not splits:
        raise SettingsError("these runs have no split in common")
    return tuple(_on_split(runs, extra, split) for split in sorted(splits))


def _on_split(runs: Sequence[Side], extra: Sequence[Side], split: str) -> Vote:
    for other in runs[1:]:
        pairing.check_comparable(runs[0], other, split)
    for other in extra:
        # It has more samples of the same tasks.
        pairing.check_comparable(runs[0], other, split, episodes=False)
    order = list(dict.fromkeys(outcome.task_id for outcome in runs[0].evaluation(split).outcomes))
    voters = tuple(_voter(run, split, order) for run in runs)
    return Vote(
        split,
        voters,
        _voter(extra[0], split, order) if extra else None,
        tuple(majority([v.samples[n][0] for v in voters]) for n in range(len(order))),
    )


def _voter(side: Side, split: str, order: Sequence[str]) -> Voter:
    path = side.example.path.with_name("episodes.parquet")
    if not path.exists():
        raise SettingsError(f"{path} is not there: a vote reads the answers of the episodes")
    env = side.example.record.env.name
    by_task: defaultdict[str, list[Answer]] = defaultdict(list)
    scored = next(iter(side.runs.values())).evaluations[split].key
    for row in episodes.read(path):
        if episodes.evaluation_of(row) != scored:
            continue
        if row["turn"]:
            raise SettingsError(
                plain(f"{path}: task {row['task']} has several turns: a vote takes single answers")
            )
        by_task[row["task"]].append(_answer(row, env))
    if missing := next((task for task in order if task not in by_task), None):
        raise SettingsError(plain(f"{path} has no episode of {missing}"))
    return Voter(side, tuple(tuple(by_task[task]) for task in order))


def _answer(row: Mapping[str, Any], env: str) -> Answer:
    said = row["response"] if env == "math" else row["action"]
    if row["turn"] is None or said is None:
        return Answer("", right=False)
    if env == "math":
        return Answer(answers.normal(answers.extract(said)), right=row["success"])
    # Blanks at the ends of lines are no part of a program.
    lines = [line.rstrip() for line in said.splitlines()]
    return Answer("\n".join(lines).strip(), right=row["success"])
