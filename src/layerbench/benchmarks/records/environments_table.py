"""Scores of one model in several environments, as one table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from layerbench.benchmarks.records import fitting, run_table
from layerbench.benchmarks.records.fitting import Column, Table
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.records.text import plain, short_source


def print_records(records: Sequence[RunRecord], *, where: Sequence[Path]) -> None:
    """Print the scores of one model, a row for each environment and split, and their mean.

    The mean is over environments: one with several splits counts once.

    Args:
        records: An evaluation of each environment.
        where: Paths of the records.
    """
    width = fitting.terminal_width(sys.stdout)
    first = records[0]
    headline = f"model {plain(first.model.name)}  preset {first.preset}  seed {first.seed}"
    notes = [
        f"{plain(record.env.name)}: {note}"
        for record in records
        for note in run_table.notes(record)
    ]
    paths = [f"record {path}" for path in where]
    fitting.show(headline, *fitting.table_lines(_table(records), width), *notes, *paths)


def _table(records: Sequence[RunRecord]) -> Table:
    rows = [(record, evaluation) for record in records for evaluation in record.scored]
    mean = fmean(fmean(e.count.rate for e in record.scored) for record in records)
    columns = {
        "environment": Column(
            "environment", [*(plain(r.env.name) for r, _ in rows), f"mean of {len(records)}"]
        ),
        "games": Column("games", [*(plain(short_source(r.env.source)) for r, _ in rows), ""]),
        "split": Column("split", [*(plain(e.split) for _, e in rows), ""]),
        "T": Column("T", [*(f"{e.temperature:g}" for _, e in rows), ""]),
        "success": Column("success", [*(_score(e) for _, e in rows), f"{mean:.2f}"]),
        "turns": Column("turns", [*(f"{e.mean_turns:.1f}" for _, e in rows), ""]),
    }
    return Table(columns, ())


def _score(evaluation: Evaluation) -> str:
    return run_table.score(evaluation.count)
