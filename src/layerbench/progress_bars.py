"""The console on stderr, and progress bars on a terminal."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn


def stderr_console() -> Console:
    """Make the console that draws on stderr; in a notebook it writes lines there, and no bars."""
    console = Console(stderr=True)
    # A notebook claims to be a terminal and is none: each frame of a bar would stay.
    if console.is_jupyter:
        return Console(stderr=True, force_jupyter=False, force_terminal=False)
    return console


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
