"""A record as a small table."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerbench.benchmarks.records import fitting, temperature_table
from layerbench.benchmarks.records.fitting import Column, Step, Table
from layerbench.benchmarks.records.record_sections import (
    EndpointRecord,
    Evaluation,
    SelectionRecord,
)
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.records.text import plain, short_source, signed
from layerbench.benchmarks.stats.pass_at_k import ks, over_tasks
from layerbench.benchmarks.stats.success import (
    Count,
    Difference,
    Interval,
    interval_of,
    pooled,
    pooled_by_type,
)

NO_STEP = (
    "NOTHING WAS LEARNED: no iteration took an optimizer step, since no group's returns differed; "
    "try a larger train.group_size or other tasks"
)
"""Of a run that trained in vain."""


def print_record(record: RunRecord, *, where: str) -> None:
    """Print model, verdict, scores by split, task type and temperature, and the path to stdout."""
    width = fitting.terminal_width(sys.stdout)
    lines = [*headline(record), *temperature_table.verdicts(record)]
    lines += fitting.table_lines(_table(record), width)
    by_temperature = temperature_table.table(record)
    if by_temperature is not None:
        lines += fitting.table_lines(by_temperature, width)
        lines += temperature_table.note(record)
    fitting.show(*lines, *notes(record), f"record {where}")


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
        f"{record.env.gym_id}  games {short_source(record.env.source)}  model {record.model.name}",
        f"{learned}  preset {record.preset}  seed {record.seed}",
    ]


def _what_learned(selection: SelectionRecord) -> str:
    rank = selection.lora_rank
    return f"{selection.name} by LoRA of rank {rank}" if rank else selection.name


def notes(record: RunRecord) -> list[str]:
    """List what the table leaves out: training in vain, failures, pass@k, an endpoint's usage."""
    training = record.training
    # Decisions are counted where a step is taken.
    in_vain = [NO_STEP] if training.iterations and not training.decisions else []
    failures = [
        f"{e.key}: {e.count.scored} scored, {e.count.failed} failed, "
        f"of {e.count.planned}; failed episodes count as lost"
        for e in record.evaluations
        if e.count.failed
    ]
    failures += [
        f"{e.key}: {e.undecided} of {e.count.planned} episodes undecided; they count as lost"
        for e in record.evaluations
        if e.undecided
    ]
    sampled = [line for e in record.scored for line in _samples(e)]
    return in_vain + failures + sampled + ([usage(record.endpoint)] if record.endpoint else [])


def _samples(evaluation: Evaluation) -> list[str]:
    """Write mean and pass@k of several samples a task in a line; none for one sample."""
    samples = min(outcome.count.planned for outcome in evaluation.outcomes)
    if samples == 1:
        return []
    scores: list[str] = []
    for k in (1, *ks(samples)):
        estimate = over_tasks(evaluation.outcomes, k=k)
        bounds = f"{estimate.interval.low:.2f} to {estimate.interval.high:.2f}"
        name = f"pass@{k}" if k > 1 else f"mean of {samples}"
        # Equal resamples say nothing about other tasks.
        interval = "no interval" if estimate.interval.is_point else bounds
        scores.append(f"{name} {estimate.value:.2f} ({interval})")
    where = f"{evaluation.phase} {evaluation.split}"
    return [f"{where}: {', '.join(scores)}; intervals over {len(evaluation.outcomes)} tasks"]


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


def score(count: Count, interval: Interval | None = None) -> str:
    """Write a success rate with its counts and its 95 % interval, that of the count unless given.

    >>> score(Count(planned=100, failed=0, successes=42))
    '0.42 (42/100) 0.33-0.52'
    """
    interval = interval or interval_of(count)
    return f"{counted(count)} {interval.low:.2f}-{interval.high:.2f}"


def counted(count: Count) -> str:
    """Write a success rate with its counts.

    >>> counted(Count(planned=100, failed=0, successes=42))
    '0.42 (42/100)'
    """
    return f"{count.rate:.2f} ({count.successes}/{count.planned})"


def rate(count: Count) -> str:
    """Write a success rate alone."""
    return f"{count.rate:.2f}"


def gain(change: Difference) -> str:
    """Write a difference of success rates with its interval; the smallest loss keeps its sign."""
    return signed(change.estimate, number="+.2f")


def summary(evaluation: Evaluation) -> str:
    """Write one evaluation as a line."""
    graded = f"return {evaluation.mean_return:.2f}  " if _is_graded(evaluation) else ""
    return (
        f"{evaluation.key}: success {score(pooled(evaluation.outcomes))}  "
        f"{graded}turns {evaluation.mean_turns:.1f}"
    )


def _is_graded(evaluation: Evaluation) -> bool:
    """Tell whether the rewards differ from 1 for a win and 0 for a loss."""
    # Sums of rewards round: a mean return can miss an equal success rate by a hair.
    mean_return, success_rate = evaluation.mean_return, evaluation.count.rate
    return not math.isclose(mean_return, success_rate, abs_tol=1e-9)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: of a split, of its mean return, or of a type of its tasks.

    Attributes:
        split: Name of the split, in its first line alone.
        what: What is scored.
        scores: Of each phase, a count, or a mean return.
        change: The difference of the phases; None where there is none.
    """

    split: str
    what: str
    scores: tuple[Count | float, ...]
    change: Difference | None = None


def _rows(record: RunRecord) -> list[_Row]:
    rows: list[_Row] = []
    for split in record.env.eval_splits:
        evaluations = [record.evaluation(phase=p, split=split) for p in phases(record)]
        totals = tuple(pooled(e.outcomes) for e in evaluations)
        rows.append(_Row(split, "all", totals, record.differences.get(split)))
        if any(map(_is_graded, evaluations)):
            rows.append(_Row("", "mean return", tuple(e.mean_return for e in evaluations)))
        # Some environments have no types of tasks, whose name is then empty.
        by_type = [pooled_by_type(e.outcomes) for e in evaluations]
        kinds = filter(None, by_type[0])
        rows += [_Row("", kind, tuple(counts[kind] for counts in by_type)) for kind in kinds]
    return rows


def _table(record: RunRecord) -> Table:
    rows, played = _rows(record), phases(record)
    columns = {
        "split": Column("split", [row.split for row in rows]),
        "task type": Column("task type", [plain(row.what) for row in rows], wrap_at=14),
        **_scores(rows, played, " (won/played) 95%", score),
    }
    steps = [
        Step("95 % intervals of rates", _scores(rows, played, " (won/played)", counted)),
        Step("won/played", _scores(rows, played, "", rate)),
    ]
    if record.differences:
        changes = [row.change for row in rows]
        columns["difference"] = Column("difference 95%", [gain(c) if c else "" for c in changes])
        values = [f"{c.estimate.value:+.2f}" if c else "" for c in changes]
        steps.append(
            Step("95 % interval of the difference", {"difference": Column("difference", values)})
        )
    return Table(columns, steps, elsewhere="the record")


def _scores(
    rows: Sequence[_Row], played: Sequence[str], head: str, write: Callable[[Count], str]
) -> dict[str, Column]:
    """Make a column of scores for each phase."""
    return {
        phase: Column(
            f"{phase}{head}",
            [
                write(cell) if isinstance(cell, Count) else f"{cell:.2f}"
                for cell in (row.scores[place] for row in rows)
            ],
        )
        for place, phase in enumerate(played)
    }
