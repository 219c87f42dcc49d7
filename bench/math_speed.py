"""Time how answers of mathematics are compared; print the figures and write them as JSON.

    python bench/math_speed.py [--pairs N] [--out FILE]

Pairs are of four kinds: plain numbers, which are compared exactly; expressions, which math-verify
compares in one process and in two; answers that would hang it and are refused before; and answers
let through to it all the same, each of which costs a process. Times are wall seconds.
"""

import argparse
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from layerbench.benchmarks.records import processors
from layerbench.envs.math.verifier import Pool, Verdict, verify

BOMB = r"\dfrac{5^{5^{5^{5^5}}-4}-5}{16}"


def timed(work: Callable[[], Any]) -> float:
    """Return how long the work took."""
    start = perf_counter()
    work()
    return perf_counter() - start


def numbers(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Make pairs of plain numbers."""
    return [
        (rf"\frac{{{rng.randint(1, 99)}}}{{4}}", f"{rng.randint(1, 99)}.25") for _ in range(count)
    ]


def expressions(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Make pairs of expressions, of which half are equal."""
    pairs: list[tuple[str, str]] = []
    for number in range(count):
        a, b = rng.randint(2, 30), rng.randint(2, 30)
        pairs.append((rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b + number % 2}}}"))
    return pairs


def judged_by(size: int, pairs: list[tuple[str, str]]) -> float:
    """Time a pool of so many processes, without their start."""
    pool = Pool(size)
    try:
        pool.judge(pairs[:size])
        return timed(lambda: pool.judge(pairs))
    finally:
        pool.close()


def measure(count: int) -> dict[str, Any]:
    """Take all the figures."""
    rng = random.Random(0)
    plain, algebra = numbers(rng, count * 50), expressions(rng, count)
    start = timed(lambda: judged_by(1, [("x", "y")]))
    one, two = judged_by(1, algebra), judged_by(2, algebra)
    refused = timed(lambda: [verify(["3"], BOMB) for _ in range(count)])
    pool = Pool(1)
    pool.judge([("x", "y")])
    verdicts: list[Verdict] = []
    hang = timed(lambda: verdicts.extend(pool.judge([("3", BOMB)])))
    pool.close()
    assert verdicts == [Verdict.UNDECIDED]
    return {
        "plain_per_second": len(plain) / timed(lambda: [verify([a], b) for a, b in plain]),
        "algebra_per_second": {"one_process": count / one, "two_processes": count / two},
        "refused_per_second": count / refused,
        "process_start_s": start,
        "hang_ended_after_s": hang,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("bench/results/math_speed.json"))
    args = parser.parse_args()
    figures = {**measure(args.pairs), "processor": processors.cpu(), "load": os.getloadavg()[0]}
    text = json.dumps(figures, indent=1)
    print(text)  # noqa: T201
    args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
