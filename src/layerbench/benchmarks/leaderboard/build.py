"""Builds the tables of a leaderboard from records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard import rows
from layerbench.benchmarks.leaderboard.split_runs import SplitRun, by_split
from layerbench.benchmarks.leaderboard.types import Board, Duplicate, Leaderboard, Rates
from layerbench.benchmarks.records import comparability, discover
from layerbench.benchmarks.records.comparability import BoardKey, Protocol
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.run_record import BASE_SELECTION, FULL_SELECTION, UNKNOWN
from layerbench.rl.types import CONTROLS


def gather(roots: Sequence[Path]) -> Leaderboard:
    """Read all records below some folders, and put them into tables.

    Args:
        roots: Folders, searched at any depth, or records themselves.

    Raises:
        SettingsError: A root does not exist.
    """
    runs = discover.find(roots)
    boards, duplicates = tabulate(runs.finished)
    return Leaderboard(boards, duplicates, runs.broken, runs.unfinished)


def gather_some(roots: Sequence[Path]) -> Leaderboard:
    """Gather as ``gather`` does, and refuse to find nothing.

    Raises:
        SettingsError: A root does not exist, or no record below the roots can be read.
    """
    gathered = gather(roots)
    if not gathered.boards:
        raise SettingsError(_why_empty(gathered, roots))
    return gathered


def tabulate(
    runs: Sequence[FoundRecord],
) -> tuple[tuple[Board, ...], tuple[Duplicate, ...]]:
    """Put records into tables; of two of one selection and seed, the one that started first."""
    tables: defaultdict[BoardKey, list[SplitRun]] = defaultdict(list)
    for run in runs:
        for split_run in by_split(run):
            tables[comparability.board_key(run.record, split_run.base)].append(split_run)
    _complete_tuned(tables)
    # One record stands for its table: the key holds every setting that is compared here.
    differs = _differences({key: table[0].run for key, table in tables.items()})
    boards: list[Board] = []
    duplicates: dict[Path, Duplicate] = {}
    for key in sorted(tables, key=_order):
        kept, left_out = _without_duplicates(tables[key])
        boards.append(_board(key, kept, differs[key]))
        # By path: a run of several splits is left out of several tables, and listed once.
        duplicates |= {duplicate.path: duplicate for duplicate in left_out}
    return tuple(boards), tuple(duplicates[path] for path in sorted(duplicates))


def _complete_tuned(tables: dict[BoardKey, list[SplitRun]]) -> None:
    """Put base, full training and controls beside the layers whose rates were tuned.

    They have no rate of a single layer, and so belong to every protocol. A table that has nothing
    else by then is left out.
    """
    others = {
        replace(key, protocol=Protocol.TUNED): key
        for key in tables
        if key.protocol != Protocol.TUNED
    }
    for key, table in list(tables.items()):
        if key.protocol == Protocol.TUNED and key in others:
            beside = tables[others[key]]
            shared = [
                i for i in beside if i.selection in (BASE_SELECTION, FULL_SELECTION, *CONTROLS)
            ]
            table += shared
            if len(shared) == len(beside):
                del tables[others[key]]


def _why_empty(gathered: Leaderboard, roots: Sequence[Path]) -> str:
    where = " ".join(str(root) for root in roots)
    if gathered.broken:
        first = gathered.broken[0]
        return f"no record under {where} can be read; the first, {first.path}: {first.reason}"
    if gathered.unfinished:
        return f"no run under {where} is finished: {len(gathered.unfinished)} under way"
    # Trials of rates score validation tasks alone.
    return f"there is no record.json under {where} that scored a split"


def _order(key: BoardKey) -> tuple[str, ...]:
    """Sort by what the headline shows, and then by the whole key, for the same order every time."""
    return (key.gym_id, key.games, key.split, key.model, key.algorithm, key.preset, str(key))


def _without_duplicates(table: Sequence[SplitRun]) -> tuple[list[SplitRun], list[Duplicate]]:
    kept: dict[tuple[str, int], SplitRun] = {}
    left_out: list[Duplicate] = []
    # The path decides between copies of a record, which have the same start.
    for item in sorted(table, key=lambda s: (s.run.record.started, s.run.path)):
        first = kept.setdefault((item.selection, item.seed), item)
        if first is not item:
            left_out.append(Duplicate(item.run.path, first.run.path))
    return list(kept.values()), left_out


def _board(key: BoardKey, table: Sequence[SplitRun], differs: tuple[str, ...]) -> Board:
    made = rows.make(table, key)
    return Board(
        key=key,
        name=comparability.short_name(key),
        num_layers=table[0].run.record.selection.num_layers,
        tasks=len(table[0].base.outcomes),
        differs=differs,
        rates=_rates(key, table[0].run),
        rows=made.rows,
        base_at=made.base_at,
        notes=made.notes,
    )


def _rates(key: BoardKey, example: FoundRecord) -> Rates:
    layer, full = comparability.learning_rates(example.record)
    return Rates(key.protocol, None if key.protocol == Protocol.TUNED else layer, full)


def _differences(examples: Mapping[BoardKey, FoundRecord]) -> dict[BoardKey, tuple[str, ...]]:
    """List for each table the settings in which it differs from others of the same headline."""
    differs: dict[BoardKey, tuple[str, ...]] = {}
    alike: defaultdict[tuple[str, ...], list[BoardKey]] = defaultdict(list)
    for key in examples:
        alike[key.gym_id, key.games, key.split, key.algorithm, key.preset].append(key)
    for keys in alike.values():
        values = {
            key: {
                **comparability.identity_beside_headline(examples[key].record, key),
                "rates": key.protocol,
            }
            for key in keys
        }
        for key in keys:
            peers = [values[other] for other in keys if _is_like_model(key, other)]
            names = sorted({name for value in peers for name in value})
            # As text: settings can be lists, which a set cannot hold.
            varying = [n for n in names if len({str(v.get(n)) for v in peers}) > 1]
            differs[key] = tuple(f"{name}={values[key].get(name, 'unset')}" for name in varying)
    return differs


def _is_like_model(key: BoardKey, other: BoardKey) -> bool:
    """Tell whether two tables are of models that a reader could take for the same."""
    return key.model == other.model or key.weights_sha256 == other.weights_sha256 != UNKNOWN
