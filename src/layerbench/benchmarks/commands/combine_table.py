"""The table of ``layerbench combine``: the gain of each part, their sum, and the combined gain."""

import sys
from collections.abc import Callable, Sequence

from layerbench.benchmarks.models.finished_run import FinishedRun
from layerbench.benchmarks.records import fitting, run_table
from layerbench.benchmarks.records.fitting import Column, Step, Table
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FINAL_PHASE,
    RunRecord,
)
from layerbench.benchmarks.stats import additivity
from layerbench.benchmarks.stats.additivity import Addition
from layerbench.benchmarks.stats.success import Count, pooled


def print_table(record: RunRecord, parts: Sequence[FinishedRun], *, where: str) -> None:
    """Print to stdout each part's gain, their sum, and the combined model's gain, by split."""
    width = fitting.terminal_width(sys.stdout)
    additions = {split: _addition(record, parts, split) for split in record.env.eval_splits}
    fitting.show(
        *run_table.headline(record),
        *fitting.table_lines(_table(record, parts, additions), width),
        *(f"{split}: {addition.verdict}" for split, addition in additions.items()),
        *run_table.notes(record),
        f"record {where}",
    )


def _addition(record: RunRecord, parts: Sequence[FinishedRun], split: str) -> Addition:
    combined, *apart = (
        (
            each.evaluation(phase=BASE_PHASE, split=split).outcomes,
            each.evaluation(phase=FINAL_PHASE, split=split).outcomes,
        )
        for each in (record, *(part.record for part in parts))
    )
    return additivity.add_up(apart, combined)


def _table(
    record: RunRecord, parts: Sequence[FinishedRun], additions: dict[str, Addition]
) -> Table:
    rows: list[tuple[str, str, Count | None, str]] = []
    for split, addition in additions.items():
        base = record.evaluation(phase=BASE_PHASE, split=split)
        rows.append((split, BASE_SELECTION, pooled(base.outcomes), ""))
        for each in (*(part.record for part in parts), record):
            # The combined run comes last, below the sum that it is compared with.
            if each is record:
                rows.append(("", "sum of these", None, run_table.gain(addition.total)))
            final = each.evaluation(phase=FINAL_PHASE, split=split)
            change = run_table.gain(each.differences[split])
            rows.append(("", each.selection.name, pooled(final.outcomes), change))
        rows.append(("", "combined - sum", None, run_table.gain(addition.surplus)))
    splits, trained, counts, gains = zip(*rows, strict=True)

    def success(head: str, write: Callable[[Count], str]) -> dict[str, Column]:
        cells = ["" if count is None else write(count) for count in counts]
        return {"success": Column(f"success{head}", cells)}

    return Table(
        {
            "split": Column("split", splits),
            "trained": Column("trained", trained, wrap_at=14),
            **success(" (won/played) 95%", run_table.score),
            "gain": Column("gain 95%", gains),
        },
        steps=[
            Step("95 % intervals of rates", success(" (won/played)", run_table.counted)),
            Step("won/played", success("", run_table.rate)),
        ],
        elsewhere="the records",
    )
