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
from layerbench.benchmarks.stats.success import pooled


def print_records(records: Sequence[RunRecord], *, where: Sequence[Path]) -> None:
    """Print the scores of one model, a row for each environment and split, and their mean.

    The mean is over environments: one with several splits counts once.

    Args:
        records: An evaluation of each environment.
        where: Paths of the records.
    """
    width = fitting.terminal_width(sys.stdout)
    first = records[0]
    model = "" if _several_models(records) else f"model {plain(first.model.name)}  "
    headline = f"{model}preset {first.preset}  seed {first.seed}"
    notes = [
        f"{plain(record.env.name)}: {note}"
        for record in records
        for note in run_table.notes(record)
    ]
    paths = [f"record {path}" for path in where]
    if any(record.best_temperatures for record in records):
        notes.append("best: at the temperature that validation tasks of the training split chose")
    fitting.show(headline, *fitting.table_lines(_table(records), width), *notes, *paths)


def _several_models(records: Sequence[RunRecord]) -> bool:
    return len({record.model.name for record in records}) > 1


def _table(records: Sequence[RunRecord]) -> Table:
    rows = [(record, evaluation) for record in records for evaluation in record.scored]
    mean = fmean(fmean(e.count.rate for e in record.scored) for record in records)
    models = [*(plain(record.model.name) for record, _ in rows), ""]
    columns = {
        "environment": Column(
            "environment", [*(plain(r.env.name) for r, _ in rows), f"mean of {len(records)}"]
        ),
        "games": Column("games", [*(plain(short_source(r.env.source)) for r, _ in rows), ""]),
        **({"model": Column("model", models)} if _several_models(records) else {}),
        "split": Column("split", [*(plain(e.split) for _, e in rows), ""]),
        "T": Column("T", [*(f"{e.temperature:g}" for _, e in rows), ""]),
        "success": Column("success", [*(_score(e) for _, e in rows), f"{mean:.2f}"]),
        "turns": Column("turns", [*(f"{e.mean_turns:.1f}" for _, e in rows), ""]),
        **_at_best(records),
    }
    return Table(columns, ())


def _at_best(records: Sequence[RunRecord]) -> dict[str, Column]:
    """Make the columns of the best temperatures; none where no record has one."""
    best = [[_best(record, e) for e in record.scored] for record in records]
    if not any(e for of in best for e in of):
        return {}
    found = [e for of in best for e in of]
    whole = [[e for e in of if e] for of in best]
    # A mean of some environments would look like one of all.
    mean = f"{fmean(fmean(e.count.rate for e in of) for of in whole):.2f}" if all(whole) else ""
    return {
        "best T": Column("best T", [*(f"{e.temperature:g}" if e else "" for e in found), ""]),
        "best": Column("best", [*(_score(e) if e else "" for e in found), mean]),
    }


def _best(record: RunRecord, evaluation: Evaluation) -> Evaluation | None:
    temperature = record.best_temperatures.get(evaluation.phase)
    if temperature is None:
        return None
    return record.evaluation(
        phase=evaluation.phase, split=evaluation.split, temperature=temperature
    )


def _score(evaluation: Evaluation) -> str:
    return run_table.score(pooled(evaluation.outcomes))
