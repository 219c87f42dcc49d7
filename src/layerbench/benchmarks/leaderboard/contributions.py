"""C by layer from earlier sweeps: from their records, or from a leaderboard's JSON."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.leaderboard import build, json_csv
from layerbench.benchmarks.leaderboard.types import Board, Role, is_alone
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.comparability import BoardKey
from layerbench.benchmarks.records.record_sections import MOST_LAYERS

# Far more than any layer contributes, where the full model gains 1.
_LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class SweptTable:
    """One table with layers that were trained alone.

    Attributes:
        name: The table's short name.
        key: What its records have in common.
        differs: Settings in which it differs from other tables of the same headline.
        num_layers: Decoder blocks of the model.
        contributions: C by layer, from 0.
        undefined: Reason why C is undefined, by layer; none of these is in ``contributions``.
        sha256: Hash of the file, or of the records behind base, ``full`` and these layers.
    """

    name: str
    key: BoardKey
    differs: tuple[str, ...]
    num_layers: int
    contributions: Mapping[int, float]
    undefined: Mapping[int, str]
    sha256: str


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer trained alone, and its C or the reason why C is undefined."""

    number: int
    contribution: float | None
    undefined: str


def read(where: Path) -> tuple[SweptTable, ...]:
    """Read every table with layers trained alone.

    Args:
        where: A folder of runs, searched at any depth, a record, or a file that
            ``layerbench leaderboard --format json`` wrote.

    Raises:
        SettingsError: ``where`` does not exist.
        FormatError: The file is no leaderboard of this version.
    """
    if where.is_file() and where.name != "record.json":
        return _read_file(where)
    return _with_layers(_from_board(board) for board in build.gather([where]).boards)


def _with_layers(tables: Iterable[SweptTable]) -> tuple[SweptTable, ...]:
    return tuple(table for table in tables if table.contributions or table.undefined)


def _from_board(board: Board) -> SweptTable:
    alone = [
        _Layer(row.layers[0], estimate.value if estimate else None, row.contribution.undefined)
        for row in board.rows
        if row.alone
        for estimate in [row.contribution.estimate]
    ]
    # Base and ``full`` as well: every layer's C depends on their scores.
    runs = [
        run
        for row in board.rows
        if row.role in (Role.BASE, Role.FULL) or row.alone
        for run in row.runs
    ]
    return _table(
        board.name,
        board.key,
        board.differs,
        num_layers=board.depth,
        alone=alone,
        sha256=_hash(run.path.read_bytes() for run in runs),
    )


def _read_file(path: Path) -> tuple[SweptTable, ...]:
    text = json_codec.read_text(path)
    data = json_codec.parse(text, where=str(path))
    schema = data.get("schema") if isinstance(data, dict) else None
    # True == 1 in Python.
    if schema != json_csv.SCHEMA or schema is True:
        raise FormatError(
            f"{path} is no leaderboard of schema {json_csv.SCHEMA}: "
            "write one by layerbench leaderboard --format json"
        )
    # A file that was edited by hand can lack any field, or hold any type in it.
    try:
        boards = cast(dict[str, Any], data)["boards"]
        return _with_layers(_from_json(board, sha256=_hash([text.encode()])) for board in boards)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, ArithmeticError) as error:
        raise FormatError(f"{path} is a damaged leaderboard: {error}") from error


def _from_json(board: Mapping[str, Any], *, sha256: str) -> SweptTable:
    alone: list[_Layer] = []
    for row in board["rows"]:
        if is_alone(Role(row["role"]), row["layers"], row["selection"]):
            estimate = row["contribution"]["estimate"]
            value = None if estimate is None else float(estimate["value"])
            number = int(row["layers"][0])
            if not 0 <= number < MOST_LAYERS or abs(value or 0.0) > _LARGEST:
                raise ValueError(f"layer {number} cannot have contributed {value}")
            alone.append(_Layer(number, value, str(row["contribution"]["undefined"])))
    return _table(
        str(board["name"]),
        json_codec.decode(BoardKey, board["key"], where="its key"),
        tuple(map(str, board["differs"])),
        num_layers=int(board["num_layers"] or 0),
        alone=alone,
        sha256=sha256,
    )


def _table(
    name: str,
    key: BoardKey,
    differs: tuple[str, ...],
    *,
    num_layers: int,
    alone: Sequence[_Layer],
    sha256: str,
) -> SweptTable:
    # 15 and middle:1 may be the same layer: the first row counts, as in ``Board.alone``.
    first = {layer.number: layer for layer in reversed(alone)}
    return SweptTable(
        name=name,
        key=key,
        differs=differs,
        num_layers=num_layers,
        contributions={
            number: layer.contribution
            for number, layer in sorted(first.items())
            if layer.contribution is not None
        },
        undefined={
            number: layer.undefined
            for number, layer in sorted(first.items())
            if layer.contribution is None
        },
        sha256=sha256,
    )


def _hash(contents: Iterable[bytes]) -> str:
    """Hash a set of files' contents: their order, paths and copies do not matter."""
    digests = {hashlib.sha256(content).hexdigest() for content in contents}
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
