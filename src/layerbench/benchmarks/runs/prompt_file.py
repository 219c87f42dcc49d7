"""The prompt file of a run, whose content becomes part of the settings."""

import hashlib
from pathlib import Path

from layerbench import untrusted_files
from layerbench.agents.prompts import from_file
from layerbench.benchmarks.config import sections
from layerbench.benchmarks.config.schema import PromptConfig, RunConfig
from layerbench.benchmarks.errors import SettingsError, UserError

_SHOWN_DIGITS = 12


def fill_in(config: RunConfig) -> None:
    """Read ``agent.prompt_file`` into the settings; its words are the style unless one was typed.

    Raises:
        SettingsError: The file cannot be read.
        UserError: It has no such texts or fields.
    """
    name = config.agent.prompt_file
    if not name:
        config.prompt = PromptConfig()
        return
    try:
        content = untrusted_files.read_bytes(Path(name), most=from_file.MOST_BYTES)
        text = content.decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"agent.prompt_file {name} cannot be read: {reason}") from error
    except ValueError as error:
        # Whatever it is told of: too large, no file, or no UTF-8.
        is_told = isinstance(error, UserError)
        reason = str(error).removeprefix(f"{name} ") if is_told else "it is no UTF-8"
        raise SettingsError(f"agent.prompt_file {name} cannot be read: {reason}") from error
    from_file.parse(text, where=name)
    digest = hashlib.sha256(content).hexdigest()
    lines = text.split("\n")
    if max(map(len, lines)) > sections.LONGEST_TEXT:
        raise SettingsError(
            f"agent.prompt_file {name} has a line of more than {sections.LONGEST_TEXT} characters: "
            "break it"
        )
    config.prompt = PromptConfig(sha256=digest, lines=lines)
    if config.agent.style == "auto":
        config.agent.style = "file"


def check_unchanged(config: RunConfig, sha256: str, *, where: str) -> None:
    """Make sure that the prompt file is still that of a file of settings.

    Args:
        config: The settings as composed.
        sha256: Hash of the content in the file of settings; empty if it has none.
        where: That file, for the error.

    Raises:
        SettingsError: The content is another by now.
    """
    if sha256 and config.prompt.sha256 != sha256:
        name, there = config.agent.prompt_file, sha256[:_SHOWN_DIGITS]
        raise SettingsError(
            f"{where} has agent.prompt_file {name} with the hash {there}, which is "
            f"{config.prompt.sha256[:_SHOWN_DIGITS]} by now: put the file back, or type "
            f"agent.prompt_file={name} to take it as it is"
        )
