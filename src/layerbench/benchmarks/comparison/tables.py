"""A comparison as a table for the terminal, as markdown and as JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from layerbench.benchmarks.comparison import words
from layerbench.benchmarks.comparison.types import Comparison, Side, SplitComparison
from layerbench.benchmarks.records import fitting, json_codec, run_table
from layerbench.benchmarks.records.fitting import Column, Step, Table
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.records.text import escaped, markdown_table, plain, signed
from layerbench.benchmarks.stats.paired import PairedDifference
from layerbench.benchmarks.stats.success import Count

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Margins:
    """Margins that a user named, as differences of success rates; None where none was."""

    worse: float | None = None
    equivalent: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table, of a split or of a type of its tasks.

    Attributes:
        split: Name of the split, in its first line alone.
        what: ``all`` or the type of task.
        a: Episodes of A.
        b: Episodes of B.
        result: Difference and test.
        p_value: The p-value to show.
    """

    split: str
    what: str
    a: Count
    b: Count
    result: PairedDifference
    p_value: float


def terminal(comparison: Comparison, margins: Margins, *, width: int | None = None) -> str:
    """Write the comparison in plain text; a width of None leaves nothing out."""
    lines = [
        *(part for line in words.headline(comparison) for part in fitting.wrapped(line, width)),
        *fitting.table_lines(_table(comparison), width),
        *(part for line in remarks(comparison, margins) for part in fitting.wrapped(line, width)),
    ]
    return "\n".join(lines) + "\n"


def markdown(comparison: Comparison, margins: Margins) -> str:
    """Write the comparison in GitHub's markdown."""
    first, *rest = words.headline(comparison)
    columns = list(_table(comparison).columns.values())
    lines = list(zip(*(column.cells for column in columns), strict=True))
    parts = [
        f"## {escaped(first)}",
        *(escaped(line) for line in rest),
        markdown_table([column.head for column in columns], lines),
        "\n".join(f"- {escaped(line)}" for line in remarks(comparison, margins)),
    ]
    return "\n\n".join(parts) + "\n"


def remarks(comparison: Comparison, margins: Margins) -> list[str]:
    """List the verdicts below the table, and the limits of the comparison."""
    lines = [words.verdict(split) for split in comparison.splits]
    if (worse := margins.worse) is not None:
        lines += [words.not_worse(split, worse) for split in comparison.splits]
    if (equivalent := margins.equivalent) is not None:
        lines += [words.equivalence(split, equivalent) for split in comparison.splits]
    if any(split.by_type for split in comparison.splits):
        lines.append(words.TYPES_NOTE)
    return [*lines, *comparison.notes]


def as_json(comparison: Comparison, margins: Margins) -> str:
    """Write the comparison with every task; ``docs/compare.md`` has the schema."""
    data: dict[str, Json] = {
        "schema": SCHEMA,
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "differs": list(comparison.differs),
        "splits": [_split(split, margins) for split in comparison.splits],
        "notes": list(comparison.notes),
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def rows(comparison: Comparison) -> list[Row]:
    """List the lines of the table."""
    listed: list[Row] = []
    for split in comparison.splits:
        result = split.result
        listed.append(Row(split.split, "all", split.a, split.b, result, result.test.p_value))
        listed += [
            Row("", kind.task_type, kind.a, kind.b, kind.result, kind.adjusted_p)
            for kind in split.by_type
        ]
    return listed


def _table(comparison: Comparison) -> Table:
    listed = rows(comparison)

    def success(head: str, write: Callable[[Count], str]) -> dict[str, Column]:
        return {
            "A": Column(f"A{head}", [write(row.a) for row in listed]),
            "B": Column(f"B{head}", [write(row.b) for row in listed]),
        }

    columns = {
        "split": Column("split", [plain(row.split) for row in listed]),
        "task type": Column("task type", [plain(row.what) for row in listed], wrap_at=12),
        **success(" (won/played)", run_table.counted),
        "difference": Column("B - A 95%", [signed(row.result.difference) for row in listed]),
        "p": Column("p", [words.p_value(row.p_value) for row in listed]),
        "tasks": Column(
            "B better/worse/tied",
            [f"{r.result.wins}/{r.result.losses}/{r.result.ties}" for r in listed],
        ),
    }
    steps = [
        Step("won/played", success("", run_table.rate)),
        Step("tasks by who did better", {"tasks": None}),
    ]
    return Table(columns, steps, elsewhere="--format json")


def _side(side: Side) -> Json:
    record = side.example.record
    return {
        "typed": side.typed,
        "model": record.model.name,
        "selection": side.selection,
        "algorithm": record.algorithm,
        "preset": record.preset,
        "phase": side.phase,
        "seeds": list(side.runs),
        "records": [str(run.found.path) for run in side.runs.values()],
    }


def _split(split: SplitComparison, margins: Margins) -> Json:
    result = split.result
    judged: dict[str, Json] = {}
    if margins.worse is not None:
        judged["may_be_worse_than"] = {
            "margin": margins.worse,
            "true": result.may_be_worse_than(margins.worse),
        }
    if margins.equivalent is not None:
        judged["within"] = {
            "margin": margins.equivalent,
            "true": result.is_within(margins.equivalent),
        }
    return {
        "split": split.split,
        "a": json_codec.encode(split.a),
        "b": json_codec.encode(split.b),
        **_result(result),
        "verdict": words.verdict(split),
        **judged,
        "by_type": [
            {
                "task_type": kind.task_type,
                "a": json_codec.encode(kind.a),
                "b": json_codec.encode(kind.b),
                **_result(kind.result),
                "p_value_holm": kind.adjusted_p,
            }
            for kind in split.by_type
        ],
        "tasks": [json_codec.encode(task) for task in split.tasks],
    }


def _result(result: PairedDifference) -> dict[str, Json]:
    return {
        "difference": json_codec.encode(result.difference),
        "interval_90": json_codec.encode(result.narrow),
        "p_value": result.test.p_value,
        "test": result.test.method.value,
        "detectable": result.detectable,
        "wins": result.wins,
        "losses": result.losses,
        "ties": result.ties,
    }
