#!/usr/bin/env python
"""Kills a run and its environment workers at random moments, and compares what it recorded.

    python tools/random_kills.py --kills 60 --seed 0

The undisturbed run comes first. Then the same command is started again and again in other folders:
each start is killed (SIGKILL) at a random moment, the run's process or one of its workers, and the
same command goes on, until the run is finished. Record, metrics, episodes and files must then be
those of the undisturbed run, but for times, memory and the number of episodes played again. The
exit status is 1 if anything differs.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

LONGEST_S = 300.0
"""Longest time for one start; a longer one hangs."""

# Keys that two equal runs may differ in.
_VARYING = frozenset(
    {"started", "finished", "seconds", "play_s", "update_s", "peak_memory_mb", "wall_s", "replayed"}
)


def command(out: Path) -> list[str]:
    """Give the command of a run that has every phase: evaluations, training, checkpoints."""
    return [
        *(sys.executable, "-m", "layerbench", "run", "keydoor", "--layer", "1"),
        *("--preset", "quick", "--out", str(out), "env.workers=2", "env.slots=8"),
        *("train.iterations=8", "train.tasks=8", "train.group_size=8", "eval.tasks=32"),
        *("eval.every=3", "train.checkpoint_every=2"),
    ]


def start(out: Path) -> subprocess.Popen[bytes]:
    """Start the run, or go on with it, in a process group of its own."""
    log = (out.parent / f"{out.name}.log").open("ab")
    return subprocess.Popen(
        command(out), stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0
    )


def phase(out: Path) -> str:
    """Name the phase of a run by what lies in its folder."""
    if (out / "record.json").exists():
        return "finishing"
    parts = {path.name for path in out.glob("evaluations/*.json")}
    if not (out / "config.yaml").exists():
        return "loading"
    if not any(name.startswith("base") for name in parts):
        return "base evaluation"
    lines = (out / "metrics.jsonl").read_text().count("\n") if _exists(out, "metrics.jsonl") else 0
    return "training" if lines < 8 else "final evaluation"


def _exists(out: Path, name: str) -> bool:
    return (out / name).is_file()


def kill_at_random(
    process: subprocess.Popen[bytes], out: Path, draw: random.Random, longest_s: float
) -> tuple[str, str] | None:
    """Kill the run or a worker of it after a random time; None if it ended before."""
    time.sleep(draw.uniform(0.0, longest_s))
    where = phase(out)
    workers = _workers(process.pid)
    if workers and draw.random() < 0.4:
        _kill(draw.choice(workers))
        return "worker", where
    if process.poll() is not None:
        return None
    process.kill()
    process.wait()
    return "run", where


def _workers(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def recorded(out: Path) -> dict[str, Any]:
    """Read all that a finished run has written, without what may vary."""
    metrics = (out / "metrics.jsonl").read_text().splitlines()
    return {
        "record": _stable(json.loads((out / "record.json").read_text())),
        "metrics": [_stable(json.loads(line)) for line in metrics],
        "episodes": pq.read_table(out / "episodes.parquet").to_pylist(),
        "files": sorted(
            str(path.relative_to(out)) for path in out.rglob("*") if path.name != ".lock"
        ),
    }


def _stable(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in _VARYING}
    return [_stable(item) for item in value] if isinstance(value, list) else value


def differences(here: object, there: object, name: str = "") -> list[str]:
    """Name the values that differ."""
    if isinstance(here, dict) and isinstance(there, dict):
        keys = sorted({*here, *there})
        return [d for k in keys for d in differences(here.get(k), there.get(k), f"{name}.{k}")]
    return [] if here == there else [f"{name[1:]}: {str(here)[:60]} and {str(there)[:60]}"]


def finish(out: Path) -> float:
    """Run to the end; give the seconds it took."""
    began = time.monotonic()
    process = start(out)
    try:
        status = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"{out}: hangs (see {out}.log)") from None
    if status:
        raise SystemExit(f"{out}: exit status {status} (see {out}.log)")
    return time.monotonic() - began


def main() -> int:
    """Kill, go on, compare, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills-per-run", type=int, default=6)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="random-kills-"))
    took_s = finish(folder / "undisturbed")
    expected = recorded(folder / "undisturbed")
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    wrong = runs = 0
    while counts.total() < arguments.kills:
        out = folder / f"run{runs}"
        runs += 1
        for _ in range(arguments.kills_per_run):
            process = start(out)
            # A killed worker leaves the run alive: it may be hit again, or goes on to its end.
            while (hit := kill_at_random(process, out, draw, took_s)) and hit[0] == "worker":
                counts[hit] += 1
            if hit is None:
                break
            counts[hit] += 1
        process.wait(LONGEST_S)
        finish(out)
        found = differences(expected, recorded(out))
        wrong += bool(found)
        for line in found:
            sys.stdout.write(f"{out}: {line}\n")
    for (what, where), count in sorted(counts.items()):
        sys.stdout.write(f"{count:4} kills of a {what}, {where}\n")
    sys.stdout.write(
        f"{counts.total()} kills in {runs} runs; undisturbed {took_s:.0f} s; {wrong} runs differ\n"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
