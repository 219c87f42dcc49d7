"""From records to tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerbench.benchmarks.leaderboard import rows
from layerbench.benchmarks.leaderboard.rows import Scored
from layerbench.benchmarks.leaderboard.types import Board, BoardKey, Duplicate, Leaderboard
from layerbench.benchmarks.records import comparability, discover
from layerbench.benchmarks.records.discover import FoundRecord


def gather(roots: Sequence[Path]) -> Leaderboard:
    """Read all records under some folders and put them into tables.

    Args:
        roots: Folders, searched at any depth, or records themselves.

    Raises:
        SettingsError: A root is not there.
    """
    there = discover.find(roots)
    boards, duplicates = tabulate(there.finished)
    return Leaderboard(boards, duplicates, there.broken, there.unfinished)


def tabulate(
    found: Sequence[FoundRecord],
) -> tuple[tuple[Board, ...], tuple[Duplicate, ...]]:
    """Put records into tables; of two for one selection and seed, the one that started first."""
    tables: defaultdict[BoardKey, list[Scored]] = defaultdict(list)
    for item in found:
        for scored in rows.scored(item):
            tables[comparability.board_key(item.record, scored.base)].append(scored)
    differs = _differences({key: table[0].found for key, table in tables.items()})
    boards: list[Board] = []
    duplicates: dict[Path, Duplicate] = {}
    for key in sorted(tables, key=_order):
        kept, left_out = _without_duplicates(tables[key])
        boards.append(_board(key, kept, differs[key]))
        duplicates |= {duplicate.path: duplicate for duplicate in left_out}
    return tuple(boards), tuple(duplicates[path] for path in sorted(duplicates))


def _order(key: BoardKey) -> tuple[str, ...]:
    return (key.gym_id, key.games, key.split, key.model, key.algorithm, key.preset, str(key))


def _without_duplicates(table: Sequence[Scored]) -> tuple[list[Scored], list[Duplicate]]:
    kept: dict[tuple[str, int], Scored] = {}
    left_out: list[Duplicate] = []
    for scored in sorted(table, key=lambda s: (s.found.record.started, s.found.path)):
        first = kept.setdefault((scored.selection, scored.seed), scored)
        if first is not scored:
            left_out.append(Duplicate(scored.found.path, first.found.path))
    return list(kept.values()), left_out


def _board(key: BoardKey, table: Sequence[Scored], differs: tuple[str, ...]) -> Board:
    made, notes = rows.make(table, key)
    return Board(
        key=key,
        name=comparability.short_name(key),
        num_layers=table[0].found.record.selection.num_layers,
        tasks=len(table[0].base.outcomes),
        differs=differs,
        rows=made,
        notes=notes,
    )


def _differences(examples: Mapping[BoardKey, FoundRecord]) -> dict[BoardKey, tuple[str, ...]]:
    """Find, for each table, what tells it from others with the same headline."""
    told: dict[BoardKey, tuple[str, ...]] = {}
    alike: defaultdict[tuple[str, ...], list[BoardKey]] = defaultdict(list)
    for key in examples:
        alike[_order(key)[:-1]].append(key)
    for keys in alike.values():
        values = {key: _identity(key, examples[key]) for key in keys}
        names = sorted({name for value in values.values() for name in value})
        varying = [n for n in names if len({str(v.get(n)) for v in values.values()}) > 1]
        for key in keys:
            told[key] = tuple(f"{name}={values[key].get(name, 'unset')}" for name in varying)
    return told


def _identity(key: BoardKey, example: FoundRecord) -> dict[str, Any]:
    settings = comparability.material_settings(example.record)
    # Said in the headline already.
    told = {"env.name", "model.name", "algorithm.name", "preset"}
    return {name: value for name, value in settings.items() if name not in told} | {
        "env version": key.env_version,
        "weights": key.weights_sha256[:8],
        "tasks": key.tasks_sha256[:8],
        "dtype": key.dtype,
    }
