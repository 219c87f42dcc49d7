"""Time whole iterations of a default run by phase, and runs beside each other, on this machine.

    python bench/iteration.py [--env alfworld] [--layer 15] [--iterations 3] [--rounds 3]
                              [--settings "NAME=VALUE ..."] [--other SRC] [--out FILE]

Ways: ``plain`` runs all layers in every pass, in one process; ``reuse`` keeps what frozen layers
compute; ``two processes`` is the default preset: reuse, and half of the episodes and of each
optimizer batch in a second process. Every way is a real run (``layerbench run``) of a few
iterations, one after the other within a round; the first iteration is left out, in which processes
warm up. Seconds are of the clock: nothing else should be running.

Beside each other: two runs at a time of one process each, plain and reuse, against one at a time of
two processes, in iterations an hour.

``--other`` is the ``src`` of another version of layerbench, from a checkout, with its own embedded
model: its runs are timed in turn with the others, as that version makes them of the same command.
``--settings`` are of all runs, such as those that make two versions play as many episodes.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks.records import processors

WAYS: Mapping[str, Sequence[str]] = {
    "plain": ("train.reuse_mb=0", "model.processes=1"),
    "reuse": ("model.processes=1",),
    "two processes": ("model.processes=2",),
}
PAIRS = ("plain", "reuse")
OTHER = "other version"


@dataclass(frozen=True, slots=True)
class Iteration:
    """What an iteration took.

    Attributes:
        play: Seconds of play.
        update: Seconds of the update.
        turns: Turns of all its episodes.
    """

    play: float
    update: float
    turns: float

    @property
    def whole(self) -> float:
        """Seconds of both."""
        return self.play + self.update


def start(args: argparse.Namespace, way: str, out: Path) -> "subprocess.Popen[bytes]":
    """Start a run of a few iterations."""
    argv = [sys.executable, "-m", "layerbench", "run", args.env, "--layer", str(args.layer)]
    argv += [f"train.iterations={args.iterations + 1}", "eval.tasks=2", "--out", str(out)]
    argv += args.settings.split()
    environment = dict(os.environ)
    if way == OTHER:
        environment["PYTHONPATH"] = str(Path(args.other).absolute())
    else:
        argv += ["eval.temperatures=[1]", *WAYS[way]]
    return subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )


def iterations(out: Path) -> list[Iteration]:
    """Read what every iteration but the first took."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [
        Iteration(row["play_s"], row["update_s"], row["turns"] * row["episodes"])
        for row in rows[1:]
    ]


def finish(runs: Sequence[tuple["subprocess.Popen[bytes]", Path]]) -> list[Iteration]:
    """Wait for runs, and give all their iterations."""
    for process, out in runs:
        if process.wait():
            raise SystemExit(f"the run in {out} failed")
    return [one for _, out in runs for one in iterations(out)]


def main() -> None:
    """Time all ways in turn, print a line for each, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", default="alfworld")
    parser.add_argument("--layer", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settings", default="", metavar='"NAME=VALUE ..."')
    parser.add_argument("--other", default="", metavar="SRC")
    parser.add_argument("--out", type=Path, default=Path("iteration.json"))
    args = parser.parse_args()
    # Without it the runs would be those of the version that is installed.
    if args.other and not Path(args.other, "layerbench", "__init__.py").is_file():
        parser.error(f"--other {args.other}: there is no layerbench in it; name a checkout's src")
    others = (OTHER,) if args.other else ()
    alone: dict[str, list[Iteration]] = {way: [] for way in (*WAYS, *others)}
    paired: dict[str, list[Iteration]] = {way: [] for way in (*PAIRS, *others)}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(args.rounds):
            for way, found in alone.items():
                out = Path(scratch) / f"{way}-{number}"
                found += finish([(start(args, way, out), out)])
            for way, found in paired.items():
                outs = [Path(scratch) / f"{way}-{number}-{one}" for one in "ab"]
                found += finish([(start(args, way, out), out) for out in outs])
    rows: list[dict[str, Any]] = [
        {
            "way": way,
            "turns": round(statistics.median(one.turns for one in found)),
            "play_s": round(statistics.median(one.play for one in found), 2),
            "update_s": round(statistics.median(one.update for one in found), 2),
            "iteration_s": round(statistics.median(one.whole for one in found), 2),
        }
        for way, found in alone.items()
    ]
    per_hour = {
        f"two at a time, {way}": round(2 * 3600 / statistics.median(one.whole for one in found))
        for way, found in paired.items()
    }
    default = statistics.median(one.whole for one in alone["two processes"])
    per_hour["one at a time, two processes"] = round(3600 / default)
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
            f"{row['way']:<15} {row['turns']} turns  "
            f"play {row['play_s']:6.2f} s  update {row['update_s']:6.2f} s  "
            f"iteration {row['iteration_s']:6.2f} s  {share:.2f} of plain\n"
        )
    for way, count in per_hour.items():
        sys.stdout.write(f"{way:<32} {count} iterations an hour\n")


if __name__ == "__main__":
    main()
