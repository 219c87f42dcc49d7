"""Measure the sandbox of programs: verdicts a second, and the time of one, by level and test.

    python bench/code_sandbox.py [--verdicts N] [--out FILE]

One process asks for one verdict after the other, as a worker of the environment does; levels that
do not work here are left out, with the reason.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from time import perf_counter

from layerbench.benchmarks.records import processors
from layerbench.envs.code.interpreter import run
from layerbench.envs.code.sandbox.guests import Pool, obstacle, pool_of
from layerbench.envs.code.sandbox.levels import LEVELS
from layerbench.envs.code.sandbox.verdicts import (
    CallTests,
    ScriptTests,
    StreamTests,
    Tests,
    judge,
)

FUNCTION = "def f(xs):\n    return sum(x * 2 for x in xs)\n"
SCRIPT = "print(sum(2 * int(x) for x in input().split()))\n"
KINDS: dict[str, tuple[str, Tests]] = {
    "calls": (FUNCTION, CallTests("f", tuple(([[n, 1]], [2 * n + 2]) for n in range(10)))),
    "streams": (SCRIPT, StreamTests(tuple((f"{n} 1", str(2 * n + 2)) for n in range(10)))),
    "assertions": (
        FUNCTION,
        ScriptTests("f", "", tuple(f"assert f([{n}, 1]) == {2 * n + 2}" for n in range(10))),
    ),
}


def measure(pool: Pool, program: str, tests: Tests, *, verdicts: int) -> dict[str, float]:
    """Time verdicts of ten tests each, one after the other (wall s)."""
    times: list[float] = []
    for _ in range(verdicts):
        start = perf_counter()
        verdict = judge(pool, program, tests)
        times.append(perf_counter() - start)
        assert verdict.is_right, verdict
    times.sort()
    return {
        "verdicts_per_second": verdicts / sum(times),
        "median_ms": 1000 * times[verdicts // 2],
        "slowest_ms": 1000 * times[-1],
    }


def main() -> None:
    """Measure, print one line a measurement, and write them all if asked."""
    parser = argparse.ArgumentParser(description="Measure the sandbox of programs.")
    parser.add_argument("--verdicts", type=int, default=100)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    results: dict[str, object] = {
        "processor": processors.cpu(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "tests_per_verdict": 10,
    }
    start = perf_counter()
    for _ in range(1_000):
        run(FUNCTION, [[3, 1]])
    results["interpreter_runs_per_second"] = 1_000 / (perf_counter() - start)
    for level in LEVELS:
        if reason := obstacle(level):
            results[level] = reason
            continue
        pool = pool_of(level)
        results[level] = {
            kind: measure(pool, *case, verdicts=arguments.verdicts) for kind, case in KINDS.items()
        }
        pool.close()
    for name, value in results.items():
        sys.stdout.write(f"{name} {json.dumps(value)}\n")
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
