"""A panel's result in a sentence, for forms that have no fields for it."""

from layerbench.benchmarks.records.record_sections import at_temperature
from layerbench.benchmarks.records.text import plain
from layerbench.benchmarks.results.panel_result import PanelResult

_SHOWN_DIGITS = 12


def note(result: PanelResult) -> str:
    """Write counts, interval, protocol and hashes in a sentence."""
    panel, count, low, high = (
        result.panel,
        result.evaluation.count,
        result.interval.low,
        result.interval.high,
    )
    trained = result.record.selection
    what = f"; trained: {trained.name}" if trained.parameters else ""
    return plain(
        f"{count.successes} of {count.planned} episodes won, 95 % interval {low:.3f} to {high:.3f} "
        f"(Wilson); panel {panel.name}, {panel.tasks} tasks with the hash "
        f"{panel.tasks_sha256[:_SHOWN_DIGITS]}, {panel.max_turns} turns, "
        f"{at_temperature(panel.temperature)}; weights "
        f"{trained.weights_sha256[:_SHOWN_DIGITS]}{what}; layerbench {result.record.code.label}"
    )
