"""``layerbench completion``: a script that lets a shell complete commands and settings."""

import argparse
import importlib.resources
import os
from collections.abc import Iterator, Sequence

from layerbench.benchmarks.commands.parser import DONE
from layerbench.benchmarks.errors import SettingsError

NAME = "completion"
SUMMARY = "print a script by which a shell completes commands, environments and settings"
EXAMPLES = """
  layerbench completion bash >> ~/.bashrc
  layerbench completion zsh >> ~/.zshrc
  layerbench completion fish > ~/.config/fish/completions/layerbench.fish

It takes effect in the next shell."""
TAKES_SETTINGS = False

SHELLS = ("bash", "zsh", "fish")

_FILES = {"preset": "preset", "algorithm": "algorithm"}
"""Folders in ``conf/`` whose files are the choices of an argument."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.add_argument("shell", metavar="SHELL", help=", ".join(SHELLS))


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print the script."""
    from layerbench.benchmarks.config.overrides import check_choice

    check_choice("shell", args.shell, SHELLS)
    try:
        from argcomplete.shell_integration import shellcode
    except ModuleNotFoundError as error:
        raise SettingsError(
            "completion needs argcomplete: pip install 'layerbench[completion]'"
        ) from error
    print(shellcode(["layerbench"], shell=args.shell))
    return DONE


def is_asked() -> bool:
    """Tell whether it is a shell's script that runs this command."""
    return "_ARGCOMPLETE" in os.environ


def complete(parser: argparse.ArgumentParser, commands: Sequence[argparse.ArgumentParser]) -> None:
    """Answer the shell and exit, if it is a shell's script that asks.

    Args:
        parser: The parser of all commands.
        commands: That of each.
    """
    if not is_asked():
        return
    from argcomplete.finders import CompletionFinder

    class Finder(CompletionFinder):
        """Adds settings, which argparse does not know: it leaves them over, wherever they stand."""

        def collect_completions(
            self,
            active_parsers: list[argparse.ArgumentParser],
            parsed_args: argparse.Namespace,
            cword_prefix: str,
        ) -> list[str]:
            found = super().collect_completions(active_parsers, parsed_args, cword_prefix)
            env = getattr(parsed_args, "env", None)
            if found or not env or not parsed_args.chosen.TAKES_SETTINGS:
                return found
            return [word for word in _settings(cword_prefix, env) if word.startswith(cword_prefix)]

    for command in commands:
        _offer_choices(command)
    Finder()(parser, always_complete_options="long")


def _offer_choices(command: argparse.ArgumentParser) -> None:
    for action in command._actions:  # pyright: ignore[reportPrivateUsage]
        folder = _FILES.get(action.dest)
        if folder is not None:
            action.choices = _file_names(folder)
        elif action.dest == "env" and command.prog.split()[-1] != "pretrain":
            setattr(action, "completer", _environments)  # noqa: B010 - it is argcomplete's


def _environments(prefix: str, **_: object) -> list[str]:
    """List environments by name, and files that may have one."""
    from argcomplete.completers import FilesCompleter

    from layerbench.envs import references

    return [*sorted(references.installed()), *FilesCompleter(["py"])(prefix)]


def _file_names(folder: str) -> list[str]:
    files = importlib.resources.files("layerbench.benchmarks.config").joinpath("conf", folder)
    return sorted(file.name.removesuffix(".yaml") for file in files.iterdir())


def _settings(prefix: str, env: str) -> Iterator[str]:
    """List the settings of the environment, and the values of one that has choices."""
    from layerbench.benchmarks.config import compose, sections
    from layerbench.benchmarks.config.schema import RunConfig

    name, equals, _ = prefix.partition("=")
    if equals:
        yield from (f"{name}={word}" for word in sections.choices_of(RunConfig).get(name, ()))
        return
    names = compose.defaults(env, preset="quick")
    yield from (f"{n}=" for n in names if not n.startswith(("env.options.", "read_from", "parts")))
