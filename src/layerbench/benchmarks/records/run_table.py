"""A record as a small table."""

import math

from rich.console import Console
from rich.table import Table

from layerbench.benchmarks.records.run_record import (
    EndpointRecord,
    Evaluation,
    RunRecord,
    SelectionRecord,
)
from layerbench.benchmarks.stats.success import Count, Difference, success_interval

WIDTH = 120
"""Of every table, wherever it is written, so that the same record gives the same bytes."""


def print_record(record: RunRecord, *, where: str) -> None:
    """Print model, scores by split and type of task, and the record's path to stdout."""
    console = Console(width=WIDTH, color_system=None)
    console.print(*headline(record), sep="\n", highlight=False, markup=False, soft_wrap=True)
    console.print(_table(record), crop=False)
    last = [*notes(record), f"record {where}"]
    console.print(*last, sep="\n", highlight=False, markup=False, soft_wrap=True)


def headline(record: RunRecord) -> list[str]:
    """Write environment, model, trained parameters, preset and seed in two lines."""
    selection = record.selection
    learned = (
        "nothing trained"
        if not selection.parameters
        else f"{record.algorithm}  trained {_what_learned(selection)}: {selection.parameters:,} of "
        f"{record.model.parameters:,} parameters ({selection.share:.1%})"
    )
    return [
        f"{record.env.gym_id}  games {record.env.source}  model {record.model.name}",
        f"{learned}  preset {record.preset}  seed {record.seed}",
    ]


def _what_learned(selection: SelectionRecord) -> str:
    rank = selection.lora_rank
    return f"{selection.name} by LoRA of rank {rank}" if rank else selection.name


def notes(record: RunRecord) -> list[str]:
    """List failed episodes and the usage of an endpoint, which the table leaves out."""
    failures = [
        f"{e.phase} {e.split}: {e.count.scored} scored, {e.count.failed} failed, "
        f"of {e.count.planned}; failed episodes count as lost"
        for e in record.evaluations
        if e.count.failed
    ]
    return failures + ([usage(record.endpoint)] if record.endpoint else [])


def usage(endpoint: EndpointRecord) -> str:
    """Write the usage that an endpoint reported as a line."""
    read, written = (
        "unknown" if tokens is None else f"{tokens:,}"
        for tokens in (endpoint.prompt_tokens, endpoint.completion_tokens)
    )
    return (
        f"endpoint: {endpoint.answers:,} answers by {', '.join(endpoint.models) or 'unknown'}, "
        f"tokens: {read} of prompts, {written} of completions"
    )


def score(count: Count) -> str:
    """Write a success rate with its counts and its 95 % interval.

    >>> score(Count(planned=100, failed=0, successes=42))
    '0.42 (42/100) 0.33-0.52'
    """
    interval = success_interval(successes=count.successes, episodes=count.planned)
    counts = f"({count.successes}/{count.planned})"
    return f"{count.rate:.2f} {counts} {interval.low:.2f}-{interval.high:.2f}"


def gain(change: Difference) -> str:
    """Write a difference of success rates with its interval.

    Resampling tasks that all came out alike tells nothing about others: then there is none.
    """
    if change.interval.is_point:
        return f"{change.difference:+.2f} no interval"
    low, high = change.interval.low, change.interval.high
    return f"{change.difference:+.2f} {low:+.2f} to {high:+.2f}"


def summary(evaluation: Evaluation) -> str:
    """Write one evaluation as a line."""
    graded = f"return {evaluation.mean_return:.2f}  " if _is_graded(evaluation) else ""
    return (
        f"{evaluation.phase} {evaluation.split}: success {score(evaluation.count)}  "
        f"{graded}turns {evaluation.mean_turns:.1f}"
    )


def _is_graded(evaluation: Evaluation) -> bool:
    """Tell whether the rewards differ from 1 for a win and 0 for a loss."""
    mean_return, success_rate = evaluation.mean_return, evaluation.count.rate
    return mean_return is not None and not math.isclose(mean_return, success_rate, abs_tol=1e-9)


def _mean_return(evaluation: Evaluation) -> str:
    mean_return = evaluation.mean_return
    return "" if mean_return is None else f"{mean_return:.2f}"


def _table(record: RunRecord) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    phases = [p for p in ("base", "final") if any(e.phase == p for e in record.evaluations)]
    table.add_column("split", no_wrap=True)
    table.add_column("task type", no_wrap=True)
    for phase in phases:
        table.add_column(f"{phase} (won/played) 95%", no_wrap=True)
    table.add_column("difference 95%" if record.differences else "", no_wrap=True)
    for split in record.env.eval_splits:
        evaluations = [record.evaluation(phase=phase, split=split) for phase in phases]
        change = record.differences.get(split)
        table.add_row(
            split, "all", *(score(e.count) for e in evaluations), gain(change) if change else ""
        )
        if any(map(_is_graded, evaluations)):
            table.add_row("", "mean return", *(_mean_return(e) for e in evaluations), "")
        # Some environments have no types of tasks, whose name is then empty.
        for task_type in filter(None, evaluations[0].by_type):
            table.add_row("", task_type, *(score(e.by_type[task_type]) for e in evaluations), "")
    return table
