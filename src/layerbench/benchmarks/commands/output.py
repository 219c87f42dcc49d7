"""Where a command's text goes: to stdout, or into a file in a format of its own."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from layerbench.benchmarks.errors import SettingsError


def add_output(parser: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    """Declare the format, the first of which is the default, and the file."""
    parser.add_argument(
        "--format",
        metavar="NAME",
        default=formats[0],
        help=f"{', '.join(formats[:-1])} or {formats[-1]}; {formats[0]} unless given",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there, not to stdout")


def check_format(name: str, formats: Sequence[str]) -> None:
    """Refuse a format that the command does not write.

    Not by argparse's choices: ``Parser.error`` takes an invalid choice for a command.

    Raises:
        SettingsError: It is none of them; the message has the nearest, or all.
    """
    from layerbench.benchmarks.config import overrides

    overrides.check_choice("format", name, formats)


def deliver(text: str, out: Path | None) -> None:
    """Print a text, or write it to a file and say so.

    Raises:
        SettingsError: The file cannot be written.
    """
    if out is None:
        print(text.removesuffix("\n"))
        return
    from layerbench.benchmarks.records import fitting

    write(out, text)
    fitting.show(f"wrote {out}")


def write(path: Path, text: str) -> None:
    """Write a file that the user named.

    Raises:
        SettingsError: It cannot be written.
    """
    from layerbench.benchmarks.records import json_codec

    try:
        json_codec.replace_text(path, text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
