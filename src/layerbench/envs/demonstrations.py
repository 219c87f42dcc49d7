"""Episodes of demonstrators, and how they are kept."""

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemonstratedTurn:
    """One exchange.

    Attributes:
        action: What was played.
        expert: The demonstrator would have played it.
        answer: What the environment said.
    """

    action: str
    expert: bool
    answer: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode.

    Attributes:
        task: Which task was played.
        noise: Share of turns that were to be played at random.
        start: The opening text.
        turns: In the order played.
        won: The goal held at the end.
    """

    task: str
    noise: float
    start: str
    turns: tuple[DemonstratedTurn, ...]
    won: bool


def write(path: Path, demonstrations: Iterable[Demonstration]) -> None:
    """Write one JSON object a line, compressed."""
    with gzip.open(path, "wt") as file:
        for demonstration in demonstrations:
            file.write(json.dumps(asdict(demonstration)) + "\n")


def read(paths: Sequence[Path]) -> list[Demonstration]:
    """Read what ``write`` wrote, in order."""
    found: list[Demonstration] = []
    for path in paths:
        with gzip.open(path, "rt") as file:
            for line in file:
                fields = json.loads(line)
                turns = tuple(DemonstratedTurn(**turn) for turn in fields.pop("turns"))
                found.append(Demonstration(**fields, turns=turns))
    return found
