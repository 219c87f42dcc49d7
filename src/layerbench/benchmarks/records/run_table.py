"""A record as a small table."""

import math

from rich.console import Console
from rich.table import Table

from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    FINAL_PHASE,
    EndpointRecord,
    Evaluation,
    RunRecord,
    SelectionRecord,
)
from layerbench.benchmarks.records.text import RUN_WIDTH, borderless_table, print_lines, signed
from layerbench.benchmarks.stats.success import Count, Difference, success_interval


def print_record(record: RunRecord, *, where: str) -> None:
    """Print model, scores by split and type of task, and the record's path to stdout."""
    console = Console(width=RUN_WIDTH, color_system=None)
    print_lines(console, headline(record))
    console.print(_table(record), crop=False)
    print_lines(console, [*notes(record), f"record {where}"])


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


def phases(record: RunRecord) -> list[str]:
    """List which of the phases before and after training the record has."""
    return [p for p in (BASE_PHASE, FINAL_PHASE) if any(e.phase == p for e in record.evaluations)]


def score(count: Count) -> str:
    """Write a success rate with its counts and its 95 % interval.

    >>> score(Count(planned=100, failed=0, successes=42))
    '0.42 (42/100) 0.33-0.52'
    """
    interval = success_interval(successes=count.successes, episodes=count.planned)
    counts = f"({count.successes}/{count.planned})"
    return f"{count.rate:.2f} {counts} {interval.low:.2f}-{interval.high:.2f}"


def gain(change: Difference) -> str:
    """Write a difference of success rates with its interval; the smallest loss keeps its sign."""
    return signed(change.estimate, number="+.2f")


def summary(evaluation: Evaluation) -> str:
    """Write one evaluation as a line."""
    graded = f"return {evaluation.mean_return:.2f}  " if _is_graded(evaluation) else ""
    return (
        f"{evaluation.phase} {evaluation.split}: success {score(evaluation.count)}  "
        f"{graded}turns {evaluation.mean_turns:.1f}"
    )


def _is_graded(evaluation: Evaluation) -> bool:
    """Tell whether the rewards differ from 1 for a win and 0 for a loss."""
    # Sums of rewards round: a mean return can miss an equal success rate by a hair.
    mean_return, success_rate = evaluation.mean_return, evaluation.count.rate
    return not math.isclose(mean_return, success_rate, abs_tol=1e-9)


def _table(record: RunRecord) -> Table:
    played = phases(record)
    scores = [f"{phase} (won/played) 95%" for phase in played]
    last = "difference 95%" if record.differences else ""
    table = borderless_table(["split", "task type", *scores, last])
    for split in record.env.eval_splits:
        evaluations = [record.evaluation(phase=phase, split=split) for phase in played]
        change = record.differences.get(split)
        table.add_row(
            split, "all", *(score(e.count) for e in evaluations), gain(change) if change else ""
        )
        if any(map(_is_graded, evaluations)):
            table.add_row("", "mean return", *(f"{e.mean_return:.2f}" for e in evaluations), "")
        # Some environments have no types of tasks, whose name is then empty.
        for task_type in filter(None, evaluations[0].by_type):
            table.add_row("", task_type, *(score(e.by_type[task_type]) for e in evaluations), "")
    return table
