"""Time whole iterations of a default run by phase, and runs beside each other, on this machine.

    python bench/iteration.py [--env alfworld] [--layer 15] [--iterations 3] [--rounds 3]
                              [--out FILE]

Ways: ``plain`` runs all layers in every pass, in one process; ``reuse`` keeps what frozen layers
compute; ``two processes`` is the default preset: reuse, and half of the episodes and of each
optimizer batch in a second process. Every way is a real run (``layerbench run``) of a few
iterations, one after the other within a round; the first iteration is left out, in which processes
warm up. Seconds are of the clock: nothing else should be running.

Beside each other: two runs at a time of one process each, plain and reuse, against one at a time of
two processes, in iterations an hour.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerbench.benchmarks.records import processors

WAYS: Mapping[str, Sequence[str]] = {
    "plain": ("train.reuse_mb=0", "model.processes=1"),
    "reuse": ("model.processes=1",),
    "two processes": ("model.processes=2",),
}
PAIRS = ("plain", "reuse")


def start(args: argparse.Namespace, way: str, out: Path) -> "subprocess.Popen[bytes]":
    """Start a run of a few iterations."""
    argv = [sys.executable, "-m", "layerbench", "run", args.env, "--layer", str(args.layer)]
    argv += [f"train.iterations={args.iterations + 1}", "eval.tasks=2", "eval.temperatures=[1]"]
    return subprocess.Popen(
        [*argv, "--out", str(out), *WAYS[way]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def seconds(out: Path) -> list[tuple[float, float]]:
    """Read the seconds of play and update of every iteration but the first."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["play_s"], row["update_s"]) for row in rows[1:]]


def finish(runs: Sequence[tuple["subprocess.Popen[bytes]", Path]]) -> list[tuple[float, float]]:
    """Wait for runs, and give the seconds of all their iterations."""
    for process, out in runs:
        if process.wait():
            raise SystemExit(f"the run in {out} failed")
    return [pair for _, out in runs for pair in seconds(out)]


def main() -> None:
    """Time all ways in turn, print a line for each, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", default="alfworld")
    parser.add_argument("--layer", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("iteration.json"))
    args = parser.parse_args()
    alone: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    paired: dict[str, list[tuple[float, float]]] = {way: [] for way in PAIRS}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(args.rounds):
            for way, found in alone.items():
                out = Path(scratch) / f"{way}-{number}"
                found += finish([(start(args, way, out), out)])
            for way, found in paired.items():
                outs = [Path(scratch) / f"{way}-{number}-{one}" for one in "ab"]
                found += finish([(start(args, way, out), out) for out in outs])
    rows = [
        {
            "way": way,
            "play_s": round(statistics.median(play for play, _ in found), 2),
            "update_s": round(statistics.median(update for _, update in found), 2),
            "iteration_s": round(statistics.median(map(sum, found)), 2),
        }
        for way, found in alone.items()
    ]
    per_hour = {
        f"two at a time, {way}": round(2 * 3600 / statistics.median(map(sum, found)))
        for way, found in paired.items()
    }
    per_hour["one at a time, two processes"] = round(3600 / rows[-1]["iteration_s"])
    result: dict[str, Any] = {
        "command": " ".join(["python bench/iteration.py", *sys.argv[1:]]),
        "processor": processors.cpu(),
        "platform": platform.platform(),
        "iterations": rows,
        "iterations_an_hour": per_hour,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        share = row["iteration_s"] / rows[0]["iteration_s"]
        sys.stdout.write(
            f"{row['way']:<15} play {row['play_s']:6.2f} s  update {row['update_s']:6.2f} s  "
            f"iteration {row['iteration_s']:6.2f} s  {share:.2f} of plain\n"
        )
    for way, count in per_hour.items():
        sys.stdout.write(f"{way:<32} {count} iterations an hour\n")


if __name__ == "__main__":
    main()
