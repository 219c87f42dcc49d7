"""What an environment prints to stdout: a first line is shown on stderr, others are counted."""

import io
import sys

_MOST_SHOWN = 200


class Printed:
    """Stands in for stdout in a process of an environment.

    Args:
        name: Name of the environment.
        shows: Whether anything is shown; else all of it is dropped.
    """

    def __init__(self, name: str, *, shows: bool) -> None:
        self.name = name
        self.shows = shows
        self._raw = _Lines(self)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(self._raw), "utf-8", "backslashreplace", line_buffering=True
        )

    def close(self) -> None:
        """Say how many lines were not shown."""
        sys.stdout.flush()
        more = self._raw.lines - 1
        if self.shows and more > 0:
            lines = "line" if more == 1 else "lines"
            self.say(f"printed {more} more {lines} (all of what it prints to stderr is shown)")

    def say(self, text: str) -> None:
        """Write a line about the environment to stderr."""
        sys.stderr.write(f"{self.name} {text}\n")
        sys.stderr.flush()


class _Lines(io.RawIOBase):
    def __init__(self, printed: Printed) -> None:
        self.lines = 0
        self._printed = printed
        self._begun = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        written = bytes(data)  # pyright: ignore
        if self._printed.shows:
            *lines, self._begun = (self._begun + written).split(b"\n")
            self._begun = self._begun[:_MOST_SHOWN]
            if lines and not self.lines:
                text = lines[0].decode(errors="backslashreplace")[:_MOST_SHOWN]
                self._printed.say(f"prints: {''.join(filter(str.isprintable, text))}")
            self.lines += len(lines)
        return len(written)
