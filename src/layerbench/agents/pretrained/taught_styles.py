"""The prompt styles that a model was taught in, by environment: a file in the model's folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from layerbench.errors import UserError
from layerbench.untrusted_files import read_bytes

FILE = "prompt_styles.json"
_MAX_BYTES = 100_000


def write(folder: Path, styles: Mapping[str, str]) -> None:
    """Write the name of a prompt style for each environment into a model's folder."""
    (folder / FILE).write_text(json.dumps(styles, indent=2) + "\n")


def read(folder: Path) -> Mapping[str, str]:
    """Read the styles of a model's folder; there are none where it names none.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / FILE
    try:
        content = read_bytes(path, most=_MAX_BYTES)
    # The name of a model need not be that of a folder.
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        styles: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: delete it, and type agent.style") from error
    if not isinstance(styles, dict) or not all(isinstance(style, str) for style in styles.values()):  # pyright: ignore
        raise UserError(f"{path} names no prompt styles: delete it, and type agent.style")
    return cast(Mapping[str, str], styles)
