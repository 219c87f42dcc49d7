"""``episodes.parquet``: every turn of a run's evaluations, one a row."""

import dataclasses
import importlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerbench import files, untrusted_files
from layerbench.agents.types import Trajectory, Turn
from layerbench.benchmarks.config.schema import MOST_EVALUATED
from layerbench.benchmarks.errors import FormatError, UserError
from layerbench.benchmarks.records.record_sections import EvaluationKey

# pyarrow has no type information; read as Any, it needs no exception in every line below.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")

_STRING = pa.string()
_INT = pa.int64()
_BOOL = pa.bool_()
_FLOAT = pa.float64()

# One row a turn. An episode whose environment broke before the first answer has one row, in which
# everything about the turn is null.
COLUMNS: dict[str, Any] = {
    "phase": _STRING,
    "split": _STRING,
    "temperature": _FLOAT,
    "episode": _INT,
    "task": _STRING,
    "task_type": _STRING,
    "seed": _INT,
    "turn": _INT,
    "observation": _STRING,
    "anchor": _STRING,
    "admissible": pa.list_(_STRING),
    "response": _STRING,
    "action": _STRING,
    "valid": _BOOL,
    "reward": _FLOAT,
    "success": _BOOL,
    "stop": _STRING,
    "error": _STRING,
}
# Columns that are never null: in all rows, and in those of a turn.
_EPISODE_COLUMNS = (
    "phase",
    "split",
    "temperature",
    "episode",
    "task",
    "task_type",
    "seed",
    "success",
    "stop",
    "error",
)
_TURN_COLUMNS = ("observation", "anchor", "admissible", "response", "valid", "reward")
_SCHEMA = pa.schema(list(COLUMNS.items()))

# Bounds on what others may have written: more than all evaluations of a run that can be read.
_LARGEST_FILE = 4_000_000_000  # bytes
_MOST_ROWS = 10 * MOST_EVALUATED
_MOST_VALUES = 20 * _MOST_ROWS
_MOST_DECODED = 8_000_000_000  # bytes
_BATCH_ROWS = 1024
_LONGEST_SHOWN = 400


def write(path: Path, trajectories: Sequence[Trajectory], key: EvaluationKey) -> None:
    """Write the turns of one evaluation, in the order of its episodes; replaces the file."""
    rows = list(_rows(trajectories, key))
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    _write(path, pa.table(columns, schema=_SCHEMA))


def merge(path: Path, parts: Iterable[Path]) -> None:
    """Join the tables of several evaluations into one file, in the order given."""
    tables = [_read(part, schema=_SCHEMA) for part in parts]
    # concat_tables refuses an empty list.
    _write(path, pa.concat_tables(tables) if tables else _SCHEMA.empty_table())


def extract(path: Path, part: Path, key: EvaluationKey) -> None:
    """Write the rows of one evaluation into a file of their own, as ``write`` does."""
    filters = [(name, "==", value) for name, value in dataclasses.asdict(key).items()]
    _write(part, _read(path, schema=_SCHEMA, filters=filters))


def read(path: Path) -> list[dict[str, Any]]:
    """Read the rows back: a dictionary for each turn, with the keys of ``COLUMNS``.

    Raises:
        FormatError: The file is no table, has other columns, or lacks a value.
    """
    rows: list[dict[str, Any]] = []
    try:
        untrusted_files.check_file(path, most=_LARGEST_FILE)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(_SCHEMA):
                columns = ", ".join(f"{field.name} {field.type}" for field in file.schema_arrow)
                raise FormatError(
                    f"{path} has columns {columns[:_LONGEST_SHOWN]}: not those of a table of "
                    "episodes"
                )
            _check_sizes(path, file.metadata)
            decoded = 0
            # In pieces: a small file can unfold to more than the memory.
            for batch in file.iter_batches(_BATCH_ROWS):
                decoded += batch.nbytes
                if decoded > _MOST_DECODED:
                    raise FormatError(f"{path} unfolds to more than {_MOST_DECODED:,} bytes")
                rows += batch.to_pylist()
    except UserError as error:
        raise FormatError(str(error)) from error
    # Arrow raises an OSError for a damaged page, and does not check UTF-8 before Python decodes it.
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    for index, row in enumerate(rows):
        if missing := _missing(row):
            raise FormatError(f"{path} is damaged: row {index} has no {missing}")
    return rows


def _check_sizes(path: Path, metadata: Any) -> None:  # noqa: ANN401 - pyarrow has no types
    if metadata.num_rows > _MOST_ROWS:
        raise FormatError(f"{path} has {metadata.num_rows} rows: {_MOST_ROWS} are the most")
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
        # The values of a list count one by one.
        if max((column.num_values for column in columns), default=0) > _MOST_VALUES:
            raise FormatError(f"{path} has a column of more than {_MOST_VALUES} values")


def _missing(row: Mapping[str, Any]) -> str:
    """Name the first value that a row lacks; empty if it is complete."""
    has_turn = row["turn"] is not None
    required = (*_EPISODE_COLUMNS, *_TURN_COLUMNS) if has_turn else _EPISODE_COLUMNS
    for name in required:
        if row[name] is None:
            return name
    if has_turn and None in row["admissible"]:
        return "text for an admissible action"
    return "finite reward" if has_turn and not math.isfinite(row["reward"]) else ""


def evaluation_of(row: Mapping[str, Any]) -> EvaluationKey:
    """Name the evaluation that a row belongs to."""
    return EvaluationKey(row["phase"], row["split"], row["temperature"])


def _rows(trajectories: Sequence[Trajectory], key: EvaluationKey) -> Iterator[dict[str, Any]]:
    for episode, trajectory in enumerate(trajectories):
        shared = {
            **dataclasses.asdict(key),
            "episode": episode,
            "task": trajectory.task_id,
            "task_type": trajectory.task_type,
            "seed": trajectory.seed,
            "success": trajectory.success,
            "stop": str(trajectory.stop),
            "error": trajectory.error,
        }
        empty = dict.fromkeys(COLUMNS)
        for number, turn in enumerate(trajectory.turns):
            yield {**empty, **shared, "turn": number, **_turn(turn)}
        if not trajectory.turns:
            yield {**empty, **shared}


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "observation": turn.observation.text,
        "anchor": turn.observation.anchor,
        "admissible": list(turn.observation.admissible_actions),
        "response": turn.response.text,
        "action": turn.action,
        "valid": turn.valid,
        "reward": turn.reward,
    }


def _read(path: Path, **options: object) -> Any:  # noqa: ANN401 - pyarrow has no types
    # Without the check, many flipped bits are read as other values.
    return pq.read_table(path, page_checksum_verification=True, **options)


def _write(path: Path, table: object) -> None:
    # Into memory first: a killed run must not leave half a table, and pyarrow flushes nothing.
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    files.replace(path, content.getvalue())
