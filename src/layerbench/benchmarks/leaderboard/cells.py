"""The text of a leaderboard's cells, headlines and notes: numbers with counts and intervals.

Records may be written by strangers: all names from them go through ``plain``.
"""

from itertools import pairwise

from layerbench.benchmarks.leaderboard.types import Board, Leaderboard, Role, Row, is_alone
from layerbench.benchmarks.records import run_table
from layerbench.benchmarks.records.comparability import Protocol
from layerbench.benchmarks.records.text import UNPUBLISHED, plain, short_source, signed
from layerbench.benchmarks.stats.contrasts import Spread
from layerbench.benchmarks.stats.contribution import Contribution
from layerbench.benchmarks.stats.success import Estimate

_MAX_SETTINGS = 8  # in the headline, of those in which tables differ; the JSON has all


def headline(board: Board) -> list[str]:
    """Write in two or three lines what a table's records have in common."""
    key = board.key
    games = f"games {short_source(key.games)}"
    if key.games in UNPUBLISHED:
        games += f" ({UNPUBLISHED[key.games]})"
    lines = [
        f"{key.gym_id} {key.env_version}  {games}  split {key.split}, {board.tasks} tasks",
        f"model {key.model} {_weights(board)}  {key.algorithm}  preset {key.preset}",
    ]
    if board.num_layers is not None:
        lines[-1] += f"  {rates(board)}"
    if board.differs:
        shown, more = board.differs[:_MAX_SETTINGS], len(board.differs) - _MAX_SETTINGS
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"unlike other tables here: {', '.join(shown)}{rest}")
    return [plain(line) for line in lines]


def rates(board: Board) -> str:
    """Write the protocol of the learning rates, and the rates.

    As ``rates common: one layer 0.005, full 0.0003`` or ``rates equal: 5e-06``.
    """
    layer, full = board.rates.layer, board.rates.full
    if not board.rates.protocol:
        return "rates unknown"
    if board.rates.protocol == Protocol.EQUAL:
        return f"rates {Protocol.EQUAL}: {full:g}"
    each = "by layer" if layer is None else f"one layer {layer:g}"
    if full is None:
        return f"rates {board.rates.protocol}: {each}"
    others = "full and several layers" if any(map(_learned_together, board.rows)) else "full"
    return f"rates {board.rates.protocol}: {each}, {others} {full:g}"


def _learned_together(row: Row) -> bool:
    # Of a combined row, each part has learned by itself.
    is_combined = row.selection.startswith("combine:")
    is_one = is_alone(row.role, row.layers, row.selection)
    return row.role is Role.LAYERS and not is_combined and not is_one


def _weights(board: Board) -> str:
    if board.num_layers is None:
        return "(weights unknown)"
    return f"{board.key.weights_sha256[:8]} ({board.num_layers} layers)"


def name(row: Row) -> str:
    """Write the name of a row: its selection, which of a floor control is no layer."""
    if row.role is Role.BASE:
        return "base"
    return plain(row.selection) + (" (control)" if row.role is Role.CONTROL else "")


def success(row: Row) -> str:
    """Write the success rate with its counts and its 95 % interval."""
    return run_table.score(row.success, row.interval)


def counted(row: Row) -> str:
    """Write the success rate with its counts."""
    return run_table.counted(row.success)


def rate(row: Row) -> str:
    """Write the success rate alone."""
    return run_table.rate(row.success)


def contribution(row: Row) -> str:
    """Write C with its 95 % interval: 0 for the base, 1 for ``full``, or ``undefined``."""
    return _contribution(row, row.contribution)


def contribution_at_best(row: Row) -> str:
    """Write C* likewise; empty where no best temperatures were chosen."""
    return _contribution(row, row.at_best.contribution) if row.at_best else ""


def at_best(row: Row) -> str:
    """Write the success rate at the best temperatures, and these; empty likewise."""
    if row.at_best is None:
        return ""
    chosen = dict.fromkeys(row.at_best.temperatures.values())
    return f"{row.at_best.rate:.2f} ({', '.join(f'{t:g}' for t in sorted(chosen, reverse=True))})"


def verdict(row: Row) -> str:
    """Write both verdicts: on C, and on what temperature gives as well."""
    return "; ".join(filter(None, (row.verdict, row.at_best.verdict if row.at_best else "")))


def _contribution(row: Row, found: Contribution) -> str:
    estimate = found.estimate
    if estimate is None:
        return {Role.BASE: "0", Role.FULL: "1"}.get(row.role, "undefined")
    low, high = estimate.interval.low, estimate.interval.high
    digits = contribution_digits(estimate)
    return f"{estimate.value:z.{digits}f} {low:z.{digits}f} to {high:z.{digits}f}"


def contribution_digits(estimate: Estimate) -> int:
    """Choose the decimals of a C: one where two are finer than a hundredth of the interval."""
    return 2 if estimate.interval.high - estimate.interval.low < 1 else 1


def seeds(numbers: tuple[int, ...]) -> str:
    """Write ascending seeds, three or more consecutive ones as a range.

    >>> seeds((0, 1, 2, 5))
    '0-2,5'
    """
    # -2 precedes no seed from 0 on, so that the first one starts a span.
    starts = [i for i, (a, b) in enumerate(pairwise((-2, *numbers))) if b != a + 1]
    spans = [numbers[a:b] for a, b in pairwise((*starts, len(numbers)))]
    return ",".join(
        f"{span[0]}-{span[-1]}" if len(span) > 2 else ",".join(str(n) for n in span)
        for span in spans
    )


def trained(row: Row) -> str:
    """Write the number and share of the trained parameters."""
    return f"{row.parameters:,} ({row.share:.1%})" if row.parameters else "0"


def ratio(number: float | None) -> str:
    """Write a multiple of what full training took; empty where it is unknown."""
    return "" if number is None else f"{number:.2f}x"


def moved(row: Row) -> str:
    """Write the relative movement of the layers that learned, the mean over them."""
    if not row.movement:
        return ""
    return f"{sum(row.movement.values()) / len(row.movement):.2g}"


def remarks(board: Board) -> list[str]:
    """List the notes below a table: caveats, temperatures, depth, best layers and code."""
    more = [
        *temperatures(board),
        *_depth(board),
        *contrasts(board),
        *_best(board),
        f"code {', '.join(_revisions(board))}",
        *_processors(board),
    ]
    return [*caveats(board), *(plain(line) for line in more)]


def caveats(board: Board) -> list[str]:
    """List the limits of a table's numbers."""
    trained = [row for row in board.rows if row.role in (Role.CONTROL, Role.LAYERS)]
    lines = [
        f"{row.selection}: C is undefined: {row.contribution.undefined}"
        for row in trained
        if row.contribution.undefined
    ]
    # One line instead of one a layer, where full training is what leaves C undefined.
    reasons = {row.contribution.undefined for row in trained}
    if len(reasons) == 1 and len(lines) > 1:
        lines = [f"C is undefined: {reasons.pop()}"]
    lines += _undefined_at_best(board)
    lines += [
        f"{row.selection}: C rests on the seeds shared with full and base: "
        f"{seeds(row.shared_seeds)}"
        for row in board.rows
        if row.contribution.estimate and row.shared_seeds != row.seeds
    ]
    lines += [
        f"{row.selection}: {row.success.failed} failed episodes count as lost"
        for row in board.rows
        if row.success.failed
    ]
    return [plain(line) for line in (*lines, *board.notes)]


def _undefined_at_best(board: Board) -> list[str]:
    """Say once why C* is undefined, where full training is what leaves it so."""
    reasons = {
        row.at_best.contribution.undefined
        for row in board.rows
        if row.role is Role.LAYERS and row.at_best
    }
    return [
        f"C* is undefined: at the best temperatures, {reason}"
        for reason in sorted(filter(None, reasons))
    ]


def temperatures(board: Board) -> list[str]:
    """Say what the untrained base does at other temperatures, as a share of full's gain."""
    lines: list[str] = []
    for base in board.base_at:
        how = "greedy" if not base.temperature else f"at T={base.temperature:g}"
        line = f"untrained base {how}: {base.rate:.2f}, gain {signed(base.gain)}"
        if estimate := base.contribution.estimate:
            digits = contribution_digits(estimate)
            low, high = estimate.interval.low, estimate.interval.high
            line += (
                f": {estimate.value:z.{digits}f} ({low:z.{digits}f} to {high:z.{digits}f}) of "
                "full training's"
            )
        lines.append(line)
    return lines


def leftovers(leaderboard: Leaderboard) -> list[str]:
    """List the records and runs that are in no table."""
    lines = [f"unfinished: {path}" for path in leaderboard.unfinished]
    lines += [f"broken, skipped: {b.path}: {b.reason}" for b in leaderboard.broken]
    lines += [
        f"left out: {d.path}: same selection and seed as {d.kept}" for d in leaderboard.duplicates
    ]
    return [plain(line) for line in lines]


def _processors(board: Board) -> list[str]:
    names = sorted({name for row in board.rows for name in row.processors})
    return [f"processor {', '.join(names)}"] if names else []


def _revisions(board: Board) -> list[str]:
    revisions = sorted({revision for row in board.rows for revision in row.revisions})
    return [short_code(revision) for revision in revisions]


def short_code(label: str) -> str:
    """Cut the commit in a ``CodeRecord.label`` to ten digits, and keep what follows it."""
    commit, plus, digest = label.partition("+")
    if " " in label:
        return f"version {label}"
    return f"{commit[:10] or 'unknown'}{plus}{digest}"


def _depth(board: Board) -> list[str]:
    return [
        f"{third.name} third of the stack (n={len(third.layers)}): gain {signed(third.gain)}, "
        f"{signed(third.against_rest)} against the other layers"
        for third in board.profile
        if third.against_rest
    ]


def contrasts(board: Board) -> list[str]:
    """Write the contrasts over depth, and how far luck goes; none for few layers."""
    found = board.contrasts
    if found is None:
        return []
    order = found.reliability
    best = found.best
    return [
        f"over depth: slope {signed(found.slope)} from the first to the last block, curvature "
        f"{signed(found.curvature)} of the middle over the ends",
        f"standard deviations of success: {_spread(found.spread)}",
        f"reliability of the order: {order.all:.2f}; {order.without_lowest:.2f} without the lowest "
        f"layer, {order.without_highest:.2f} without the highest, {order.without_both:.2f} without "
        "both",
        f"best layer {best.layer}: gain {signed(best.gain)}; corrected for having been picked "
        f"{signed(best.corrected)}",
    ]


def _spread(spread: Spread) -> str:
    parts = [("between layers", spread.layers), ("seeds", spread.seeds), ("tasks", spread.tasks)]
    return ", ".join(
        f"{name} {e.value:.2f} ({e.interval.low:.2f} to {e.interval.high:.2f})"
        for name, e in parts
        if e is not None
    )


def _best(board: Board) -> list[str]:
    # Below 0.005 it would be written as 0 %.
    likeliest = [b for b in board.best[:3] if b.probability >= 0.005]
    if len(board.best) < 2:
        return []
    layers = ", ".join(f"{b.layer} ({b.probability:.0%})" for b in likeliest)
    return [f"probability that a layer is the best of the {len(board.best)}: {layers}"]
