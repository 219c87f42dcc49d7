"""The protocol of a command, the parser of its arguments, and arguments that several have."""

import argparse
import itertools
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

from layerbench.agents import torchrun
from layerbench.benchmarks.errors import SettingsError
from layerbench.envs.choices import nearest
from layerbench.rl.settings import Algorithm

DONE, FAILED, MISTAKE, INTERRUPTED, CLOSED = 0, 1, 2, 130, 141
"""Exit statuses."""

# Settings that users know from other tools by the name of the section alone.
_SHORT_NAMES = {"model": "model.name", "algorithm": "algorithm.name"}


@runtime_checkable
class Command(Protocol):
    """A module of this folder: one command.

    It is imported for every ``--help``, so it imports what is slow (torch, hydra, gymnasium) inside
    ``run``.

    Attributes:
        NAME: Name of the command on the command line.
        SUMMARY: One line, in lower case, for the list of commands.
        EXAMPLES: Lines for the end of its help.
        TAKES_SETTINGS: Whether ``setting=value`` arguments may follow.
    """

    # Properties, since a module's constants cannot be assigned.
    @property
    def NAME(self) -> str: ...

    @property
    def SUMMARY(self) -> str: ...

    @property
    def EXAMPLES(self) -> str: ...

    @property
    def TAKES_SETTINGS(self) -> bool: ...

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's arguments."""
        ...

    def run(self, args: argparse.Namespace, settings: list[str], /) -> int:
        """Carry the command out.

        Args:
            args: The arguments declared.
            settings: ``name=value`` each.

        Returns:
            The exit status.

        Raises:
            UserError: An argument, setting, file or folder is wrong.
            FailedError: The execution failed.
        """
        ...


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width, and breaks examples as a shell lets them be."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for is_prose, group in itertools.groupby(text.splitlines(), _is_prose):
            if is_prose:
                lines += textwrap.wrap(" ".join(group), width)
            else:
                lines += [line for example in group for line in _example(example, width)]
        return "\n".join(lines)


def _is_prose(line: str) -> bool:
    return bool(line) and not line.startswith("  ")


def _example(line: str, width: int) -> list[str]:
    """Break a command line behind backslashes."""
    broken = textwrap.wrap(
        line,
        width - 2,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [f"{part} \\" for part in broken[:-1]] + (broken[-1:] or [""])


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(
            r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", message
        )
        if choice:
            commands = re.findall(r"[\w-]+", choice[2])
            message = f"no command '{choice[1]}': {nearest(choice[1], commands)}"
        elif message.startswith("the following arguments are required"):
            message = f"{message}: see {self.prog} --help"
        self.exit(MISTAKE, f"layerbench: {message}\n")

    def options(self) -> list[str]:
        """List the options."""
        return re.findall(r"--[a-z-]+", self.format_usage())

    def refuse_repeats(self) -> None:
        """Make options that are declared later refuse a second value."""
        # argparse takes the last of two values without a word.
        self.register("action", None, _StoreOnce)


def take_settings(rest: Sequence[str], *, options: Sequence[str]) -> list[str]:
    """Take the arguments that a parser left over as settings.

    ``model=`` and ``algorithm=`` are short for ``model.name=`` and ``algorithm.name=``.

    Raises:
        SettingsError: One of them is an unknown option; the message has the nearest of ``options``.
    """
    for item in rest:
        if item.startswith("-"):
            raise SettingsError(f"no option {item}: {nearest(item, options)}")
    return [_with_full_name(item) for item in rest]


def refuse_rest(rest: Sequence[str], *, options: Sequence[str]) -> None:
    """Refuse arguments that a parser left over.

    Raises:
        SettingsError: There is one.
    """
    if take_settings(rest, options=options):
        raise SettingsError(f"expected no more arguments, got '{rest[0]}'")


def add_env(parser: argparse.ArgumentParser) -> None:
    """Declare the environment."""
    parser.add_argument(
        "env",
        metavar="ENV",
        help="an environment: its name (see layerbench envs), a file such as ./mine.py, or "
        "module:NAME",
    )


def add_algorithm(parser: argparse.ArgumentParser) -> None:
    """Declare the algorithm."""
    default, *others, last = Algorithm
    names = f"{default} (the default), {', '.join(others)} or {last}; a preset may have its own"
    parser.add_argument("--algorithm", metavar="NAME", help=names)


def add_panel(parser: argparse.ArgumentParser) -> None:
    """Declare the panel."""
    parser.add_argument(
        "--panel", metavar="NAME", help="score a fixed list of tasks (see layerbench panels)"
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare the file of settings."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="settings of a run (its config.yaml, or what --settings shows); options and settings "
        "typed beside it win over the file, and the file over the preset",
    )


def add_many_runs(parser: argparse.ArgumentParser) -> None:
    """Declare what all runs of a sweep or of tuning share, and how they are launched."""
    add_algorithm(parser)
    parser.add_argument("--model", metavar="M", help="as for layerbench run")
    add_config(parser)
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="quick, quick-generate, default, small, paper, paper-math or paper-code",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="runs at a time: one a core unless given, one where there is a GPU",
    )
    parser.add_argument(
        "--launcher",
        metavar="NAME",
        default="joblib",
        help="joblib (processes here, the default), ray, submitit (SLURM) or submitit_local",
    )


def quieten_transformers() -> None:
    """Turn off the warnings and progress bars of transformers, which would break up ours."""
    # Read when transformers and huggingface_hub are first imported.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def say(message: str) -> None:
    """Write a message to stderr as one line."""
    sys.stderr.write(f"layerbench: {' '.join(message.split())}\n")


def say_loading() -> None:
    """Say at a terminal that torch is imported, which takes seconds; in the first process alone."""
    if sys.stderr.isatty() and torchrun.rank() == 0:
        sys.stderr.write("loading torch\n")
        sys.stderr.flush()


def _with_full_name(setting: str) -> str:
    name, equals, value = setting.partition("=")
    return f"{_SHORT_NAMES.get(name, name)}{equals}{value}"


class _StoreOnce(argparse.Action):
    """Stores a value, as argparse does by default, and refuses a second one."""

    _given: object = None

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        # argparse takes -- for the end of the options, even after an equals sign.
        if self.nargs is None and isinstance(values, list):
            raise argparse.ArgumentError(self, "-- is no value")
        # None for a positional argument, for which argparse may call this twice.
        if option_string is not None:
            if self._given is not None:
                raise argparse.ArgumentError(
                    self, f"given twice, as {self._given} and as {values}: give it once"
                )
            self._given = values
        setattr(namespace, self.dest, values)
