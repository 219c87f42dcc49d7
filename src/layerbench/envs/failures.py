"""Words an error of an environment, whatever its class makes of ``str``."""

import traceback
from pathlib import Path

MAX_REASON_CHARS = 300
MAX_TRACE_CHARS = 20_000


def one_line(error: BaseException) -> str:
    """Write an error and its place, such as ``ValueError: no such game (games.py:12)``."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an environment's own error may raise another
        text = ""
    message = " ".join(f"{type(error).__name__}: {text}".split())[:MAX_REASON_CHARS]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    # Their text has file and line, and whoever compiles the file is no place of it.
    if isinstance(error, SyntaxError):
        is_coded = "codec can't decode" in text or "Non-UTF-8" in text
        place = ": save the file as UTF-8" if is_coded else ""
    elif isinstance(error, EOFError) and "reading a line" in text:
        place += ": input() has nobody to answer it, as actions come by step(action)"
    return message.encode("utf-8", "backslashreplace").decode() + place


def is_raised_by(error: BaseException, module: str) -> bool:
    """Tell whether an error was raised by a module of that name, or one in that package."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    name = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    return name == module or name.startswith(f"{module}.")


def trace(error: BaseException) -> str:
    """Write an error's traceback, or the end of a long one."""
    try:
        lines = traceback.format_exception(error)
    except Exception:  # noqa: BLE001 - as above
        lines = traceback.format_tb(error.__traceback__)
    return "".join(lines)[-MAX_TRACE_CHARS:]
