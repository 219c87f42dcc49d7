"""How arguments are read: each option once, and mistakes said in one line."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from layerbench.benchmarks.errors import SettingsError
from layerbench.envs.choices import nearest

MISTAKE = 2
"""Exit status."""

# As others write them, too.
_SHORT = {"model": "model.name", "algorithm": "algorithm.name"}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(
            r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", message
        )
        if choice:
            known = re.findall(r"[\w-]+", choice[2])
            message = f"no command '{choice[1]}': {nearest(choice[1], known)}"
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


def _in_full(setting: str) -> str:
    name, equals, value = setting.partition("=")
    return f"{_SHORT.get(name, name)}{equals}{value}"


def refuse_rest(rest: Sequence[str], *, options: Sequence[str]) -> None:
    """Refuse what a parser left over.

    Raises:
        SettingsError: There is something left over.
    """
    if take_settings(rest, options=options):
        raise SettingsError(f"expected no more arguments, got '{rest[0]}'")


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
