"""A comparison in words: what is clear, and what the design could have seen."""

from layerbench.benchmarks.comparison.types import Comparison, Side, SplitComparison
from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.records.text import plain, short_source
from layerbench.benchmarks.stats.contribution import Standing
from layerbench.benchmarks.stats.paired import PairedDifference
from layerbench.benchmarks.stats.success import Interval

_MOST_DIFFERENCES = 8  # shown; the JSON has all
TYPES_NOTE = "by task type: p is corrected for the number of types (Holm); their intervals are not"


def headline(comparison: Comparison) -> list[str]:
    """Write what is compared."""
    record = comparison.a.example.record
    tasks = ", ".join(f"{s.split} {s.result.tasks} tasks" for s in comparison.splits)
    lines = [
        f"{record.env.gym_id}  games {short_source(record.env.source)}  {tasks}",
        f"A  {side(comparison.a)}",
        f"B  {side(comparison.b)}",
    ]
    if comparison.differs:
        shown = comparison.differs[:_MOST_DIFFERENCES]
        more = len(comparison.differs) - len(shown)
        lines.append(f"A/B: {'  '.join(shown)}{f'  and {more} more' if more else ''}")
    return [plain(line) for line in lines]


def side(side: Side) -> str:
    """Name a policy, its runs and the phase."""
    record = side.example.record
    trained = f"trained {side.selection}  {record.algorithm}" if side.trained else "untrained"
    seeds = cells.seeds(tuple(side.runs))
    word = "seeds" if len(side.runs) > 1 else "seed"
    return f"{record.model.name}  {trained}  {side.phase}  {word} {seeds}  {side.typed}"


def verdict(split: SplitComparison) -> str:
    """Say what the test of a split shows, and what it could have shown."""
    result = split.result
    by = f"p {p_value(result.test.p_value)} by {result.test.method}"
    return plain(f"{split.split}: {_standing(result)}, {by}; {seen(result)}")


def _standing(result: PairedDifference) -> str:
    match result.standing:
        case Standing.ABOVE:
            return "B is better than A"
        case Standing.BELOW:
            return "B is worse than A"
        case Standing.UNCLEAR:
            return "B - A is not clear of 0"


def seen(result: PairedDifference) -> str:
    """Say which difference the design could have seen."""
    if result.detectable is None:
        return "this design could have seen no difference at all (80 % power)"
    return f"this design could have seen {result.detectable:.2f} or more (80 % power)"


def not_worse(split: SplitComparison, margin: float) -> str:
    """Say whether B may be worse than A by more than a margin."""
    interval = split.result.difference.interval
    if split.result.may_be_worse_than(margin):
        what = f"B may be worse than A by more than {margin:g}"
    else:
        what = f"B is not worse than A by more than {margin:g}"
    return plain(f"{split.split}: {what}: the 95 % interval begins at {interval.low:+.3f}")


def equivalence(split: SplitComparison, margin: float) -> str:
    """Say whether B is shown to be within a margin of A."""
    shown = "is" if split.result.is_within(margin) else "is not shown to be"
    return plain(
        f"{split.split}: B {shown} within {margin:g} of A: 90 % interval "
        f"{_bounds(split.result.narrow)} (two one-sided tests, 5 %)"
    )


def _bounds(interval: Interval) -> str:
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def p_value(p: float) -> str:
    """Write a p-value.

    >>> p_value(0.0412), p_value(0.00002), p_value(1.0)
    ('0.041', '<0.001', '1.000')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"
