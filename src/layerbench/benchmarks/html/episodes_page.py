"""The episodes of a run as an HTML page: observations, responses and rewards, turn by turn."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from layerbench.agents.types import StopReason
from layerbench.benchmarks.html.render import render
from layerbench.benchmarks.html.turn_scores import Row, TurnScore, advantage_settings, score_turns
from layerbench.benchmarks.records.episodes import evaluation_of
from layerbench.benchmarks.records.record_sections import at_temperature
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.records.run_table import headline

RESULTS = ("won", "lost", "failed")

# Names of the items of a turn's list in the page's data; assets/episodes.js reads them.
_TURN = (
    "observation",
    "anchor",
    "admissible",
    "response",
    "action",
    "valid",
    "reward",
    "score",
)


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One line of the list of episodes.

    Attributes:
        phase: Phase of the evaluation.
        split: Split of the evaluation.
        temperature: How actions were sampled.
        number: Index of the episode within the evaluation, from 0.
        task: Id of the task.
        task_type: Kind of task, or empty.
        result: One of ``RESULTS``.
        stop: Reason why the episode ended.
        error: Error of the environment, or empty.
        turns: Number of turns.
    """

    phase: str
    split: str
    temperature: str
    number: int
    task: str
    task_type: str
    result: str
    stop: str
    error: str
    turns: int


def episodes_page(record: RunRecord, rows: Sequence[Row], *, where: str) -> str:
    """Write the page.

    Args:
        record: The run's record.
        rows: Rows of the run's ``episodes.parquet``.
        where: The run's folder, as shown on the page.

    Raises:
        UserError: The record's settings of the algorithm cannot be read.
    """
    settings = advantage_settings(record.settings)
    scores = score_turns(rows, settings)
    played = _played(rows, scores)
    listed = [_listed([row for row, _ in turns]) for turns in played]
    return render(
        "episodes.html",
        styles=("base.css", "episodes.css"),
        scripts=("base.js", "episodes.js"),
        values={
            "headline": headline(record),
            "where": where,
            "episodes": listed,
            "filters": _filters(listed),
            "settings": settings,
            "data": _data(played),
        },
    )


_Played = Sequence[tuple[Row, TurnScore | None]]


def _played(rows: Sequence[Row], scores: Sequence[TurnScore | None]) -> list[_Played]:
    """Group the rows by episode."""
    pairs = zip(rows, scores, strict=True)
    return [list(episode) for _, episode in groupby(pairs, key=lambda pair: _episode(pair[0]))]


def _episode(row: Row) -> tuple[Any, ...]:
    return evaluation_of(row), row["episode"]


def _listed(rows: Sequence[Row]) -> EpisodeRow:
    first = rows[0]
    failed = first["stop"] == StopReason.ERROR
    return EpisodeRow(
        phase=first["phase"],
        split=first["split"],
        temperature=at_temperature(first["temperature"]),
        number=first["episode"],
        task=first["task"],
        task_type=first["task_type"],
        result="failed" if failed else "won" if first["success"] else "lost",
        stop=str(first["stop"]).replace("_", " "),
        error=first["error"],
        turns=sum(row["turn"] is not None for row in rows),
    )


def _filters(episodes: Sequence[EpisodeRow]) -> list[tuple[str, str, list[str]]]:
    """List the filters: attribute, label and values, in the order they first appear."""
    labels = (
        ("phase", "Phase"),
        ("split", "Split"),
        ("temperature", "Sampled"),
        ("task_type", "Task type"),
    )
    filters = [
        (name, label, list(dict.fromkeys(str(getattr(episode, name)) for episode in episodes)))
        for name, label in labels
    ]
    return [*filters, ("result", "Result", list(RESULTS))]


class _Interned:
    """Values stored once and referred to by index; turns repeat most of what they show."""

    def __init__(self) -> None:
        self._indices: dict[Hashable, int] = {}

    def index(self, value: Hashable) -> int:
        return self._indices.setdefault(value, len(self._indices))

    @property
    def values(self) -> list[Any]:
        return list(self._indices)


def _data(played: Sequence[_Played]) -> Mapping[str, Any]:
    """Lay out the turns for the page's script."""
    texts, lists = _Interned(), _Interned()
    episodes = [
        [_turn(row, score, texts, lists) for row, score in turns if row["turn"] is not None]
        for turns in played
    ]
    # Before ``texts`` is written: this adds the texts of admissible actions to it.
    action_lists = [[texts.index(text) for text in actions] for actions in lists.values]
    return {"turn": _TURN, "episodes": episodes, "lists": action_lists, "texts": texts.values}


def _turn(row: Row, score: TurnScore | None, texts: _Interned, lists: _Interned) -> list[Any]:
    anchor = row["anchor"]
    return [
        texts.index(row["observation"]),
        # Shown only where it differs from the observation.
        None if anchor in (None, "", row["observation"]) else texts.index(anchor),
        lists.index(tuple(row["admissible"])),
        texts.index(row["response"]),
        None if row["action"] is None else texts.index(row["action"]),
        row["valid"],
        row["reward"],
        # In the order of TurnScore's fields.
        None if score is None else list(dataclasses.astuple(score)),
    ]
