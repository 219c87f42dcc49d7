"""Compares answers by math-verify: ``python -m layerbench.envs.math.verify_process SECONDS``.

``layerbench.envs.math.verifier`` starts it. It reads pairs as lines of JSON, and writes a letter
for each: right, wrong or undecided. The kernel ends it after SECONDS of a processor for one pair,
whatever sympy does then.
"""

import importlib
import json
import os
import re
import resource
import sys
from typing import Any

MAX_MEMORY = 4 << 30
"""Largest address space, in bytes."""

_DIGITS = 12
"""Decimals in which numbers must agree where algebra does not decide."""


def _judge(answer: str, given: str) -> bytes:
    # Not at the top: checks import this module, and take no answers.
    library: Any = importlib.import_module("math_verify")
    sides = [
        # As one formula, since any of several would count. Alarms of its own do not end what a C
        # function does; the limits here do.
        library.parse(f"${_on_one_line(side)}$", parsing_timeout=None)
        for side in (answer, given)
    ]
    if not all(sides):
        return b"w"
    # Not rounded to the 6 digits of its default: 1.414214 is not the root of 2.
    is_right = library.verify(*sides, float_rounding=_DIGITS, timeout_seconds=None)
    return b"r" if is_right else b"w"


def _on_one_line(side: str) -> str:
    # Small gaps, which it would not read.
    return " ".join(re.sub(r"\$|\\[,;:!]", " ", side).split())


def main() -> None:
    """Answer until stdin ends."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        # stdout is for the verdicts alone: libraries may print.
        os.dup2(2, 1)
        _judge("x^2", "2 x")
        answers.write(b".")
        for line in sys.stdin.buffer:
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime) + seconds + 1
            _, most = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
            try:
                verdict = _judge(*json.loads(line))
            # Whatever the libraries raise for a strange text; memory may be short as well.
            except Exception:  # noqa: BLE001
                verdict = b"u"
            answers.write(verdict)


if __name__ == "__main__":
    main()
