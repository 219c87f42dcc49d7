"""What stored turns were worth: returns, anchor groups and advantages, as training computes them.

Training keeps no episodes, so these are an evaluation's, compared with the other episodes of their
task in the same evaluation.

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
from layerbench.rl.advantages import ALGORITHMS, TurnTable, anchor_numbers, discounted_returns
from layerbench.rl.settings import AdvantageSettings, Algorithm, Normalisation, Statistics

Row = Mapping[str, Any]
"""A turn as ``episodes.read`` gives it."""


@dataclass(frozen=True, slots=True)
class TurnScore:
    """What one turn was worth.

    Attributes:
        value: Discounted sum of the scaled rewards from this turn on, before any penalty.
        advantage: What the loss would weigh the turn by.
        episode: The part that compares whole episodes of the task.
        step: The part that compares turns at the same anchor; 0 without GiGPO.
        anchor: Number of the anchor group within the task, from 1.
        met: Turns of that anchor group.
    """

    value: float
    advantage: float
    episode: float
    step: float
    anchor: int
    met: int


def advantage_settings(settings: Mapping[str, Any]) -> AdvantageSettings:
    """Read the settings of the algorithm from those of a record.

    Raises:
        UserError: A setting is missing, or no run can have its value.
    """
    try:
        given = dict(settings["algorithm"])
        kinds = {
            "name": Algorithm(given.pop("name")),
            "statistics": Statistics(given.pop("statistics")),
            "normalisation": Normalisation(given.pop("normalisation")),
        }
        return AdvantageSettings(**kinds, **given)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"the record's settings of the algorithm cannot be read: {error}"
        ) from error


def score_turns(rows: Sequence[Row], settings: AdvantageSettings) -> list[TurnScore | None]:
    """Score the rows of ``episodes.parquet`` against their task's.

    None stands for what training would not learn from: turns of an episode whose environment
    broke.
    """
    scored = [place for place, row in enumerate(rows) if _counts(row)]
    scores: list[TurnScore | None] = [None] * len(rows)
    if not scored:
        return scores
    table = _turn_table([rows[place] for place in scored], settings)
    advantages = ALGORITHMS[settings.name](table, settings)
    values_N = discounted_returns(
        table.rewards_N, trajectory_N=table.trajectory_N, discount=settings.discount
    )
    anchors = list(zip(table.task_N.tolist(), table.anchor_N.tolist(), strict=True))
    met = Counter(anchors)
    for turn, place in enumerate(scored):
        scores[place] = TurnScore(
            value=float(values_N[turn]),
            advantage=float(advantages.total_N[turn]),
            episode=float(advantages.episode_N[turn]),
            step=float(advantages.step_N[turn]),
            anchor=anchors[turn][1] + 1,
            met=met[anchors[turn]],
        )
    return scores


def _counts(row: Row) -> bool:
    return row["turn"] is not None and row["stop"] != StopReason.ERROR


def _turn_table(rows: Sequence[Row], settings: AdvantageSettings) -> TurnTable:
    tasks = [(row["phase"], row["split"], row["task"]) for row in rows]
    episodes = [(*task, row["episode"]) for task, row in zip(tasks, rows, strict=True)]
    return TurnTable(
        rewards_N=settings.reward_scale * np.array([row["reward"] for row in rows], np.float64),
        trajectory_N=_numbers(episodes),
        task_N=_numbers(tasks),
        anchor_N=_anchors(rows, tasks, similarity=settings.similarity),
        valid_N=np.array([row["valid"] for row in rows], np.bool_),
    )


def _numbers(keys: Sequence[Hashable]) -> Int[np.ndarray, " N"]:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)


def _anchors(
    rows: Sequence[Row], tasks: Sequence[Hashable], *, similarity: float
) -> Int[np.ndarray, " N"]:
    """Number the states within each task."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, task in enumerate(tasks):
        places[task].append(place)
    anchor_N = np.zeros(len(rows), np.int64)
    for own in places.values():
        keys = [rows[place]["anchor"] or rows[place]["observation"] for place in own]
        anchor_N[own] = anchor_numbers(keys, similarity=similarity)
    return anchor_N
