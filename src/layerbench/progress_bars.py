"""Progress bars on a terminal."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn


def progress_bars(console: Console, *columns: ProgressColumn) -> Progress:
    """Make bars that are drawn on a terminal alone, and vanish when they are stopped.

    Args:
        console: Draws the bars.
        columns: What stands right of the description and the bar.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
