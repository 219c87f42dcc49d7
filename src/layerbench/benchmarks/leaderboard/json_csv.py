"""A leaderboard as data: JSON and CSV; ``docs/leaderboard.md`` has the schema."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from typing import Any

from layerbench.benchmarks.leaderboard.types import Board, Leaderboard, Row
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.records.text import UNPUBLISHED, plain
from layerbench.benchmarks.stats.success import Count, Estimate, Interval, interval_of

SCHEMA = 2

COLUMNS = (
    *("table", "gym_id", "env_version", "games", "split", "model", "weights_sha256"),
    *("algorithm", "preset", "protocol", "selection", "role", "task_type", "won", "played"),
    *("failed", "success", "success_low", "success_high", "contribution", "contribution_low"),
    *("contribution_high", "contribution_undefined", "gain", "gain_low", "gain_high"),
    *("against_full", "against_full_low", "against_full_high", "verdict", "seeds"),
    *("best_temperatures", "best_success", "best_gain", "best_gain_low", "best_gain_high"),
    *("best_contribution", "best_contribution_low", "best_contribution_high"),
    *(
        "best_contribution_undefined",
        "best_verdict",
        "entropy",
        "kl",
        "shared_seeds",
        "parameters",
        "share",
    ),
    *("update_ratio", "memory_ratio", "revisions"),
    "records",
)
"""Columns of the CSV: a line for each selection, and one with counts alone for each task type."""


def as_json(leaderboard: Leaderboard) -> str:
    """Write all tables and what is left out of them; each row names the records behind it."""
    data: dict[str, Json] = {
        "schema": SCHEMA,
        "boards": [_board(board) for board in leaderboard.boards],
        "duplicates": [{"path": str(d.path), "kept": str(d.kept)} for d in leaderboard.duplicates],
        "broken": [{"path": str(b.path), "reason": b.reason} for b in leaderboard.broken],
        "unfinished": [str(path) for path in leaderboard.unfinished],
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def as_csv(leaderboard: Leaderboard) -> str:
    """Write one line a selection and kind of task."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for board in leaderboard.boards:
        for row in board.rows:
            for line in _lines(board, row):
                writer.writerow({name: _cell(value) for name, value in line.items()})
    return out.getvalue()


def selection_rows(leaderboard: Leaderboard) -> Iterator[dict[str, Any]]:
    """Give the CSV's line of each selection as values, and None where the CSV has nothing."""
    for board in leaderboard.boards:
        for row in board.rows:
            line = {**dict.fromkeys(COLUMNS), **next(_lines(board, row))}
            del line["task_type"]
            yield line | {
                "layers": row.layers,
                "seeds": row.seeds,
                "shared_seeds": row.shared_seeds,
                "revisions": row.revisions,
                "records": tuple(str(run.path) for run in row.runs),
            }


def _board(board: Board) -> Json:
    fields: dict[str, Json] = {
        "name": board.name,
        "key": json_codec.encode(board.key),
        "num_layers": board.num_layers,
        "tasks": board.tasks,
        "differs": list(board.differs),
        "rates": json_codec.encode(board.rates),
        "rows": [_row(row) for row in board.rows],
        "base_at": json_codec.encode(board.base_at),
        "profile": json_codec.encode(board.profile),
        "best": json_codec.encode(board.best),
        "contrasts": json_codec.encode(board.contrasts),
        "notes": list(board.notes),
    }
    if board.key.games in UNPUBLISHED:
        fields["warning"] = f"{board.key.games}: {UNPUBLISHED[board.key.games]}"
    return fields


def _row(row: Row) -> Json:
    # Without 10,000 resamples a row; the records behind it are listed by path.
    fields = {
        field.name: json_codec.encode(getattr(row, field.name))
        for field in dataclasses.fields(row)
        if field.name not in ("runs", "gain_draws")
    }
    rates: dict[str, Json] = {
        "rate": row.success.rate,
        "seeds": list(row.seeds),
        "revisions": list(row.revisions),
        "processors": list(row.processors),
        "records": [str(run.path) for run in row.runs],
    }
    return fields | rates


def _lines(board: Board, row: Row) -> Iterator[dict[str, object]]:
    key = board.key
    identity: dict[str, object] = {
        "table": board.name,
        "gym_id": key.gym_id,
        "env_version": key.env_version,
        "games": key.games,
        "split": key.split,
        "model": key.model,
        "weights_sha256": key.weights_sha256,
        "algorithm": key.algorithm,
        "preset": key.preset,
        "protocol": key.protocol,
        "selection": row.selection,
        "role": row.role.value,
    }
    yield identity | _counts("all", row.success, row.interval) | _whole(row)
    for kind, count in row.by_type.items():
        # Some environments have no types of tasks: the empty one would repeat the line of all.
        if kind:
            yield identity | _counts(kind, count, interval_of(count))


def _counts(kind: str, count: Count, interval: Interval) -> dict[str, object]:
    return {
        "task_type": kind,
        "won": count.successes,
        "played": count.planned,
        "failed": count.failed,
        "success": count.rate,
        "success_low": interval.low,
        "success_high": interval.high,
    }


def _whole(row: Row) -> dict[str, object]:
    return {
        **_estimate("contribution", row.contribution.estimate),
        "contribution_undefined": row.contribution.undefined,
        **_estimate("gain", row.gain),
        **_estimate("against_full", row.against_full),
        "verdict": row.verdict,
        **_at_best(row),
        "entropy": row.entropy,
        "kl": row.kl,
        "seeds": " ".join(str(seed) for seed in row.seeds),
        "shared_seeds": " ".join(str(seed) for seed in row.shared_seeds),
        "parameters": row.parameters,
        "share": row.share,
        "update_ratio": row.update_ratio,
        "memory_ratio": row.memory_ratio,
        "revisions": " ".join(row.revisions),
        "records": " ".join(str(run.path) for run in row.runs),
    }


def _at_best(row: Row) -> dict[str, object]:
    best = row.at_best
    if best is None:
        return {}
    return {
        "best_temperatures": " ".join(f"{t:g}" for t in best.temperatures.values()),
        "best_success": best.rate,
        **_estimate("best_gain", best.gain),
        **_estimate("best_contribution", best.contribution.estimate),
        "best_contribution_undefined": best.contribution.undefined,
        "best_verdict": best.verdict,
    }


def _estimate(name: str, estimate: Estimate | None) -> dict[str, object]:
    if estimate is None:
        return {}
    return {
        name: estimate.value,
        f"{name}_low": estimate.interval.low,
        f"{name}_high": estimate.interval.high,
    }


def _cell(value: object) -> object:
    """Keep a spreadsheet from reading a name as a formula; numbers stay as they are."""
    if isinstance(value, str):
        # First: a tab or a line break before the sign would hide it from the test below.
        text = plain(value)
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return value
