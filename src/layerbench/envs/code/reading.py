"""Reads the program out of a response: a fenced block, or the text itself."""

import re

from layerbench.envs.code.interpreter import MAX_CHARS
from layerbench.envs.code.programs import program_of

# A block that is not closed goes on to the end: the response was cut off, or has forgotten it.
_FENCED = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_FUNCTION = re.compile(r"^\s*(?:async\s+)?def\s", re.MULTILINE)


def code_of(response: str) -> str:
    r"""Take the last fenced block, or else the whole text.

    >>> code_of("So:\n```python\nreturn xs\n```\nDone.")
    'return xs\n'
    >>> code_of("return xs")
    'return xs'
    """
    blocks = _FENCED.findall(response)
    return blocks[-1] if blocks else response


def function_of(response: str) -> str:
    r"""Read a response as a function of ``xs``; lines without one become its body.

    >>> function_of("return xs")
    'def f(xs):\n    return xs'
    """
    code = code_of(response)
    if len(code) > MAX_CHARS or _FUNCTION.search(code):
        return code
    return program_of(code.strip("\n").splitlines())
