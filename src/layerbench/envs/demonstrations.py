"""Demonstrations: recorded episodes of an expert, and their files."""

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemonstratedTurn:
    """One action and its outcome.

    Attributes:
        action: The action that was played.
        expert: Whether the expert chose that action; False for a random one.
        answer: The next observation's text.
    """

    action: str
    expert: bool
    answer: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode.

    Attributes:
        task: The task's id.
        noise: Probability of a random action at each turn.
        start: The first observation's text.
        turns: The turns in order.
        won: The goal held at the end.
    """

    task: str
    noise: float
    start: str
    turns: tuple[DemonstratedTurn, ...]
    won: bool


def write(path: Path, demonstrations: Iterable[Demonstration]) -> None:
    """Write one JSON object a line, compressed by gzip."""
    with gzip.open(path, "wt") as file:
        for demonstration in demonstrations:
            file.write(json.dumps(asdict(demonstration)) + "\n")


def read(paths: Sequence[Path]) -> list[Demonstration]:
    """Read the files of ``write``, in order."""
    demonstrations: list[Demonstration] = []
    for path in paths:
        with gzip.open(path, "rt") as file:
            for line in file:
                fields = json.loads(line)
                turns = tuple(DemonstratedTurn(**turn) for turn in fields.pop("turns"))
                demonstrations.append(Demonstration(**fields, turns=turns))
    return demonstrations
