"""Time the leaderboard's page on made-up records, and write the times as JSON.

    python bench/leaderboard_page.py [--records N] [--out FILE]

The records are those of sweeps over 28 layers with 3 seeds, 128 tasks on each of two splits and
150 iterations with their metrics: as many sweeps, over models and algorithms, as it takes. Wall and
CPU seconds are those of a process of its own, from its start, as a shell would see them.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import synthetic_sweep  # noqa: E402

LAYERS = 28
SEEDS = (0, 1, 2)
ALGORITHMS = ("gigpo", "grpo", "dr_grpo")
LIMIT_S, LIMIT_MB = 10.0, 6.0


@dataclass(frozen=True, slots=True)
class Times:
    """Time and memory of one page.

    Attributes:
        records: Number of records read.
        tables: Number of tables on the page.
        wall_s: Wall time (s).
        cpus: Logical processors of the machine.
        load: Load average of the minute before; above ``cpus`` the wall time includes waiting for
            other processes.
        cpu_s: CPU time of this process and its children, user and system (s).
        page_mb: Size of the page in 10^6 bytes.
        peak_memory_mb: Peak resident memory.
    """

    records: int
    tables: int
    wall_s: float
    cpus: int
    load: float
    cpu_s: float
    page_mb: float
    peak_memory_mb: float


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/leaderboard_page.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = write_records(Path(folder) / "runs", args.records)
        times = measure(Path(folder), records)
    sys.stdout.write(
        f"{times.records} records in {times.tables} tables: {times.wall_s:.1f} s wall "
        f"(load {times.load:.1f} on {times.cpus} processors), "
        f"{times.cpu_s:.1f} s CPU, {times.page_mb:.1f} MB page, "
        f"{times.peak_memory_mb:.0f} MB memory\n"
    )
    args.out.write_text(json.dumps(asdict(times), indent=1) + "\n")
    return 0 if times.cpu_s < LIMIT_S and times.page_mb < LIMIT_MB else 1


def write_records(root: Path, records: int) -> int:
    """Write sweeps until there are enough."""
    each = (LAYERS + 2) * len(SEEDS)
    for number in range(math.ceil(records / each)):
        synthetic_sweep.write(
            root / str(number),
            synthetic_sweep.Sweep(
                layers=[str(layer) for layer in range(LAYERS)],
                seeds=SEEDS,
                num_layers=LAYERS,
                model=f"model-{number // len(ALGORITHMS)}",
                algorithm=ALGORITHMS[number % len(ALGORITHMS)],
                splits=("seen", "unseen"),
                tasks=128,
                iterations=150,
            ),
        )
    found = sorted(root.rglob("record.json"))
    for surplus in found[records:]:
        surplus.unlink()
        surplus.with_name("metrics.jsonl").unlink(missing_ok=True)
    return len(found[:records])


def measure(folder: Path, records: int) -> Times:
    """Run the command, and measure its time and memory."""
    page = folder / "board.html"
    command = [sys.executable, "-m", "layerbench", "leaderboard", str(folder / "runs")]
    load, _, _ = os.getloadavg()
    started = time.perf_counter()
    subprocess.run(
        [*command, "--format", "html", "--out", str(page)],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    wall_s = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = page.read_text(encoding="utf-8")
    return Times(
        records=records,
        tables=text.count('<section class="board"'),
        wall_s=round(wall_s, 2),
        cpus=os.cpu_count() or 1,
        load=round(load, 1),
        cpu_s=round(used.ru_utime + used.ru_stime, 2),
        page_mb=round(page.stat().st_size / 1e6, 2),
        peak_memory_mb=round(used.ru_maxrss / 1000, 1),
    )


if __name__ == "__main__":
    raise SystemExit(main())
