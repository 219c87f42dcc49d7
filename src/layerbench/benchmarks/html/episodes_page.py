"""The episodes of a run as a page: what was seen, answered and earned, turn by turn."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from layerbench.agents.types import StopReason
from layerbench.benchmarks.html.render import render
from layerbench.benchmarks.html.turn_scores import Row, TurnScore, advantage_settings, score_turns
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.records.run_table import headline

RESULTS = ("won", "lost", "failed")

# How the places of a turn's list in the page's data are named; read by assets/episodes.js.
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
        phase: Of the evaluation.
        split: Of the evaluation.
        number: Of the episode within the evaluation, from 0.
        task: The task played.
        task_type: Its kind, or empty.
        result: One of ``RESULTS``.
        stop: Why it ended.
        error: What broke, or empty.
        turns: Their number.
    """

    phase: str
    split: str
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
        record: Of the run.
        rows: Its ``episodes.parquet``.
        where: The run's folder, as shown.

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
    """Gather the rows of each episode."""
    pairs = zip(rows, scores, strict=True)
    return [list(own) for _, own in groupby(pairs, key=lambda pair: _episode(pair[0]))]


def _episode(row: Row) -> tuple[Any, ...]:
    return row["phase"], row["split"], row["episode"]


def _listed(rows: Sequence[Row]) -> EpisodeRow:
    first = rows[0]
    failed = first["stop"] == StopReason.ERROR
    return EpisodeRow(
        phase=first["phase"],
        split=first["split"],
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
    kinds = (("phase", "Phase"), ("split", "Split"), ("task_type", "Task type"))
    found = [
        (name, label, list(dict.fromkeys(str(getattr(episode, name)) for episode in episodes)))
        for name, label in kinds
    ]
    return [*found, ("result", "Result", list(RESULTS))]


class _Numbered:
    """Values that recur, each kept once; a long episode repeats most of what it shows."""

    def __init__(self) -> None:
        self._places: dict[Hashable, int] = {}

    def place(self, value: Hashable) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def values(self) -> list[Any]:
        return list(self._places)


def _data(played: Sequence[_Played]) -> Mapping[str, Any]:
    """Lay out the turns for the page's script."""
    texts, lists = _Numbered(), _Numbered()
    episodes = [
        [_turn(row, score, texts, lists) for row, score in turns if row["turn"] is not None]
        for turns in played
    ]
    # The lists first: their texts have places of their own.
    named = [[texts.place(text) for text in actions] for actions in lists.values]
    return {"turn": _TURN, "episodes": episodes, "lists": named, "texts": texts.values}


def _turn(row: Row, score: TurnScore | None, texts: _Numbered, lists: _Numbered) -> list[Any]:
    anchor = row["anchor"]
    return [
        texts.place(row["observation"]),
        # What only repeats the observation need not be read twice.
        None if anchor in (None, "", row["observation"]) else texts.place(anchor),
        lists.place(tuple(row["admissible"])),
        texts.place(row["response"]),
        None if row["action"] is None else texts.place(row["action"]),
        row["valid"],
        row["reward"],
        None
        if score is None
        else [score.value, score.advantage, score.episode, score.step, score.anchor, score.met],
    ]
