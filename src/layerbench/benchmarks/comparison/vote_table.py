"""A vote as a table for the terminal."""

from collections.abc import Sequence

import numpy as np

from layerbench.benchmarks.comparison.vote import Vote
from layerbench.benchmarks.records import fitting
from layerbench.benchmarks.records.fitting import Column, Table
from layerbench.benchmarks.records.text import plain, signed
from layerbench.benchmarks.stats.voting import overlap

_MOST_IN_MATRIX = 12


def lines(votes: Sequence[Vote], *, width: int | None = None) -> list[str]:
    """Write the votes, by split."""
    return [line for vote in votes for line in _split(vote, width)]


def _split(vote: Vote, width: int | None) -> list[str]:
    text = [
        f"{vote.split}: {len(vote.voters)} voters, {len(vote.voted)} tasks",
        *fitting.table_lines(_voters(vote), width),
        *_result(vote),
    ]
    wrapped = [part for line in text for part in fitting.wrapped(plain(line), width)]
    return [*wrapped, *_overlaps(vote, width)]


def _voters(vote: Vote) -> Table:
    rates = [float(v.solved_N.mean()) for v in vote.voters]
    names = [f"{v.side.selection} seed {v.side.example.record.seed}" for v in vote.voters]
    return Table(
        {
            "voter": Column("voter", [str(n) for n in range(1, len(names) + 1)]),
            "trained": Column("trained", [plain(name) for name in names], wrap_at=16),
            "solved": Column("solved", [f"{rate:.2f}" for rate in rates]),
            "run": Column("run", [plain(v.side.typed) for v in vote.voters], wrap_at=30),
        }
    )


def _result(vote: Vote) -> list[str]:
    solved = np.stack([v.solved_N for v in vote.voters])
    tasks = solved.shape[1]
    union, both = int(solved.any(axis=0).sum()), int(solved.all(axis=0).sum())
    mean = solved.mean(axis=0).tolist()
    lines = [
        f"majority {np.mean(vote.voted):.2f}: {signed(vote.above(mean))} against the mean voter, "
        "95 % over tasks",
        *(
            f"self-consistency of {len(vote.voters)} samples of {name}: {np.mean(rates):.2f}; the "
            f"vote {signed(vote.above(rates))} against it"
            for name, rates in vote.controls
        ),
        f"solved by any voter {union}/{tasks}, by all {both}/{tasks}",
    ]
    if not vote.controls:
        lines.insert(
            1,
            f"no control: no run has {len(vote.voters)} samples a task; play one with "
            f"eval.episodes_per_task={len(vote.voters)} and name it by --control",
        )
    return lines


def _overlaps(vote: Vote, width: int | None) -> list[str]:
    voters = vote.voters[:_MOST_IN_MATRIX]
    numbers = [str(n) for n in range(1, len(voters) + 1)]
    solved = [voter.solved_N for voter in voters]

    def cell(row: int, column: int) -> str:
        if row == column:
            return ""
        found = overlap(solved[row], solved[column])
        value = found.jaccard if row < column else found.kappa
        return "none" if value is None else f"{value:.2f}"

    columns = [
        Column(number, [cell(row, place) for row in range(len(voters))])
        for place, number in enumerate(numbers)
    ]
    head = "overlap of what two voters solve: Jaccard above the diagonal, Cohen's kappa below"
    shown = [head] if len(voters) == len(vote.voters) else [f"{head}; the first {len(voters)}"]
    return [
        *(part for line in shown for part in fitting.wrapped(line, width)),
        *fitting.blocks(Column("", numbers), columns, width),
    ]
