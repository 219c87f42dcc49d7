"""Returns, anchor groups and advantages of an evaluation's turns, as training computes them.

Training stores no episodes. Here the group of a turn is the other episodes of its task in the same
evaluation.

Shape suffix: N turns.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from layerbench.agents.types import StopReason
from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records.episodes import evaluation_of
from layerbench.rl.advantages import ALGORITHMS, TurnTable, anchor_numbers, discounted_returns
from layerbench.rl.settings import AdvantageSettings, Algorithm, Normalisation, Statistics

Row = Mapping[str, Any]
"""One turn, or an episode without turns, as ``episodes.read`` returns it."""


@dataclass(frozen=True, slots=True)
class TurnScore:
    """Return and advantage of one turn.

    Attributes:
        value: Discounted sum of the scaled rewards from this turn on, before any penalty.
        advantage: Weight of the turn in the policy loss.
        episode: Part of the advantage that compares whole episodes of the task.
        step: Part of the advantage that compares turns at the same anchor; 0 without GiGPO.
        anchor: Number of the anchor group within the task, from 1.
        group_size: Number of turns in the anchor group.
    """

    value: float
    advantage: float
    episode: float
    step: float
    anchor: int
    group_size: int


def advantage_settings(settings: Mapping[str, Any]) -> AdvantageSettings:
    """Read the section ``algorithm`` of a record's settings.

    Raises:
        UserError: A setting is missing or out of range.
    """
    try:
        numbers = dict(settings["algorithm"])
        enums = {
            "name": Algorithm(numbers.pop("name")),
            "statistics": Statistics(numbers.pop("statistics")),
            "normalisation": Normalisation(numbers.pop("normalisation")),
        }
        return AdvantageSettings(**enums, **numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"the record's settings of the algorithm cannot be read: {error}"
        ) from error


def score_turns(rows: Sequence[Row], settings: AdvantageSettings) -> list[TurnScore | None]:
    """Score the rows of ``episodes.parquet`` within their task.

    Returns:
        A score for each row. None for rows that training would not learn from: episodes without
        turns, and those whose environment broke.
    """
    scored = [index for index, row in enumerate(rows) if _is_learned_from(row)]
    scores: list[TurnScore | None] = [None] * len(rows)
    if not scored:
        return scores
    table = _turn_table([rows[index] for index in scored], settings)
    advantages = ALGORITHMS[settings.name](table, settings)
    values_N = discounted_returns(
        table.rewards_N, trajectory_N=table.trajectory_N, discount=settings.discount
    )
    anchors = list(zip(table.task_N.tolist(), table.anchor_N.tolist(), strict=True))
    group_sizes = Counter(anchors)
    for turn, index in enumerate(scored):
        scores[index] = TurnScore(
            value=float(values_N[turn]),
            advantage=float(advantages.total_N[turn]),
            episode=float(advantages.episode_N[turn]),
            step=float(advantages.step_N[turn]),
            anchor=anchors[turn][1] + 1,
            group_size=group_sizes[anchors[turn]],
        )
    return scores


def _is_learned_from(row: Row) -> bool:
    return row["turn"] is not None and row["stop"] != StopReason.ERROR


def _turn_table(rows: Sequence[Row], settings: AdvantageSettings) -> TurnTable:
    tasks = [(evaluation_of(row), row["task"]) for row in rows]
    episodes = [(*task, row["episode"]) for task, row in zip(tasks, rows, strict=True)]
    return TurnTable(
        rewards_N=settings.reward_scale * np.array([row["reward"] for row in rows], np.float64),
        trajectory_N=_numbers(episodes),
        task_N=_numbers(tasks),
        anchor_N=_anchors(rows, tasks, similarity=settings.similarity),
        valid_N=np.array([row["valid"] for row in rows], np.bool_),
    )


def _numbers(keys: Sequence[Hashable]) -> Int[np.ndarray, " N"]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _anchors(
    rows: Sequence[Row], tasks: Sequence[Hashable], *, similarity: float
) -> Int[np.ndarray, " N"]:
    """Number the anchor states within each task."""
    turns: dict[Hashable, list[int]] = defaultdict(list)
    for turn, task in enumerate(tasks):
        turns[task].append(turn)
    anchor_N = np.zeros(len(rows), np.int64)
    for task_turns in turns.values():
        # An environment without anchors leaves them empty; then the observation is the state.
        keys = [rows[turn]["anchor"] or rows[turn]["observation"] for turn in task_turns]
        anchor_N[task_turns] = anchor_numbers(keys, similarity=similarity)
    return anchor_N
