"""The table of ``layerbench combine``: the gain of each part, their sum, and the combined gain."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from layerbench.benchmarks.models.finished_run import FinishedRun
from layerbench.benchmarks.records import run_table
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FINAL_PHASE,
    RunRecord,
)
from layerbench.benchmarks.records.text import RUN_WIDTH, borderless_table, print_lines
from layerbench.benchmarks.stats import additivity
from layerbench.benchmarks.stats.additivity import Addition


def print_table(record: RunRecord, parts: Sequence[FinishedRun], *, where: str) -> None:
    """Print to stdout each part's gain, their sum, and the combined model's gain, by split."""
    console = Console(width=RUN_WIDTH, color_system=None)
    additions = {split: _addition(record, parts, split) for split in record.env.eval_splits}
    print_lines(console, run_table.headline(record))
    console.print(_table(record, parts, additions), crop=False)
    print_lines(console, [f"{split}: {addition.verdict}" for split, addition in additions.items()])
    print_lines(console, [*run_table.notes(record), f"record {where}"])


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
    table = borderless_table(["split", "trained", "success (won/played) 95%", "gain 95%"])
    for split, addition in additions.items():
        base = record.evaluation(phase=BASE_PHASE, split=split)
        table.add_row(split, BASE_SELECTION, run_table.score(base.count), "")
        for each in (*(part.record for part in parts), record):
            # The combined run comes last, below the sum that it is compared with.
            if each is record:
                table.add_row("", "sum of these", "", run_table.gain(addition.total))
            final = each.evaluation(phase=FINAL_PHASE, split=split)
            change = run_table.gain(each.differences[split])
            table.add_row("", each.selection.name, run_table.score(final.count), change)
        table.add_row("", "combined - sum", "", run_table.gain(addition.surplus))
    return table
