"""What all commands share: their form, their parser, and the arguments that several have."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol, runtime_checkable

from layerbench.benchmarks.errors import SettingsError
from layerbench.envs.choices import nearest
from layerbench.rl.settings import Algorithm

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""

# The two settings that people name by their section alone, as other tools have them.
_SHORT = {"model": "model.name", "algorithm": "algorithm.name"}


@runtime_checkable
class Command(Protocol):
    """A module of this folder: one command.

    It is imported for every ``--help``, so it imports what is slow (torch, hydra, gymnasium) inside
    ``run``.

    Attributes:
        NAME: What the user types after ``layerbench``.
        SUMMARY: One line, in lower case, for the list of commands.
        EXAMPLES: Lines for the end of its help.
        TAKES_SETTINGS: Whether ``setting=value`` may follow; what is left over is refused if not.
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
            UserError: Something that was typed is wrong.
            FailedError: What was asked for did not come about.
        """
        ...


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(
            r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", message
        )
        if choice:
            commands = re.findall(r"[\w-]+", choice[2])
            message = f"no command '{choice[1]}': {nearest(choice[1], commands)}"
        self.exit(MISTAKE, f"layerbench: {message}\n")

    def options(self) -> list[str]:
        """List the options that can be typed."""
        return re.findall(r"--[a-z-]+", self.format_usage())

    def refuse_repeats(self) -> None:
        """Refuse an option that is given twice; for arguments that are declared later."""
        self.register("action", None, _Once)


def take_settings(rest: Sequence[str], *, options: Sequence[str]) -> list[str]:
    """Take what a parser left over as settings; an unknown option is none.

    ``model=`` and ``algorithm=`` are short for their names.

    Raises:
        SettingsError: There is such an option; the message has the nearest of ``options``.
    """
    for item in rest:
        if item.startswith("-"):
            raise SettingsError(f"no option {item}: {nearest(item, options)}")
    return [_in_full(item) for item in rest]


def refuse_rest(rest: Sequence[str], *, options: Sequence[str]) -> None:
    """Refuse what a parser left over.

    Raises:
        SettingsError: There is something left over.
    """
    if take_settings(rest, options=options):
        raise SettingsError(f"expected no more arguments, got '{rest[0]}'")


def add_env(parser: argparse.ArgumentParser) -> None:
    """Declare the environment."""
    parser.add_argument("env", metavar="ENV", help="name of the environment; see layerbench envs")


def add_algorithm(parser: argparse.ArgumentParser) -> None:
    """Declare the algorithm."""
    default, *others, last = Algorithm
    names = f"{default} (the default), {', '.join(others)} or {last}"
    parser.add_argument("--algorithm", metavar="NAME", help=names)


def quieten_transformers() -> None:
    """Keep transformers' own bars off ours; it reads this when it is first imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def say(message: str) -> None:
    """Write one line to stderr, whatever line breaks the message has."""
    sys.stderr.write(f"layerbench: {' '.join(message.split())}\n")


def _in_full(setting: str) -> str:
    name, equals, value = setting.partition("=")
    return f"{_SHORT.get(name, name)}{equals}{value}"


class _Once(argparse.Action):
    """Stores a value, as argparse does by default, unless there is one already."""

    _given: object = None

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None:
            if self._given is not None:
                raise argparse.ArgumentError(
                    self, f"given twice, as {self._given} and as {values}: give it once"
                )
            self._given = values
        setattr(namespace, self.dest, values)
