"""Time a leaderboard of many records, as large as those of a study with 128 tasks and 2 splits.

python bench/leaderboard_speed.py [--records 1000] [--out FILE]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from simulated_sweeps import BASE, FULL, Scenario, Simulator

from layerbench.benchmarks.leaderboard import json_csv, tables
from layerbench.benchmarks.leaderboard.build import gather
from layerbench.benchmarks.records import record_sections, run_record
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool, pool_by_type

SPLITS = ("seen", "unseen")
KINDS = ("look", "place", "clean", "cool", "heat", "two")
LAYERS = tuple(range(28))
SEEDS = 3


def evaluation(phase: str, split: str, won_N: np.ndarray) -> Evaluation:
    """Count one evaluation."""
    outcomes = tuple(
        TaskOutcome(f"{split}/easy/{place}", KINDS[place % len(KINDS)], Count(1, 0, int(won)))
        for place, won in enumerate(won_N)
    )
    return Evaluation(
        phase=phase,
        split=split,
        temperature=1.0,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        stops={"terminated": int(won_N.sum())},
        outcomes=outcomes,
        mean_turns=14.0,
        invalid_share=0.0,
        tokens=9000,
        seconds=5.0,
    )


def record(name: str, seed: int, evaluations: tuple[Evaluation, ...], algorithm: str) -> RunRecord:
    """Make a record with these scores."""
    layers = LAYERS if name == FULL else () if name == BASE else (int(name),)
    matrices = {f"model.layers.{n}.mlp.{m}.weight": 0.3 for n in layers for m in "abcdefghijk"}
    return RunRecord(
        schema=run_record.SCHEMA,
        env=record_sections.EnvRecord(
            "alfworld", "layerbench/ALFWorld-v0", "alfworld-gen", "v0", "", SPLITS
        ),
        model=record_sections.ModelRecord("simulated", "", "ab" * 32, "float32", 1000),
        selection=record_sections.SelectionRecord(name, layers, len(LAYERS), 100, 0.1, "cd" * 32),
        algorithm=algorithm,
        preset="default",
        seed=seed,
        settings={"seed": seed, "layers": name, "algorithm": {"name": algorithm}},
        code=record_sections.CodeRecord("0.1.0", "0" * 40, dirty=False, packages={}),
        evaluations=evaluations,
        differences={},
        training=record_sections.TrainingRecord(40, 1024, 2560, 40000, 60000, {"update": 60.0}),
        movement=record_sections.MovementRecord({str(layer): 0.3 for layer in layers}, matrices),
        started=f"2026-01-01T00:00:0{seed}+00:00",
        peak_memory_mb=900.0,
        hardware=record_sections.HardwareRecord("cpu", 1, 2, "Linux x86_64"),
    )


def write_sweeps(root: Path, *, count: int) -> int:
    """Write sweeps of base, full and every layer, in a folder each, until there are enough."""
    scenario = Scenario(
        "", layers=tuple(np.linspace(0.36, 0.56, len(LAYERS))), layer_sds=(0.03,) * len(LAYERS)
    )
    simulator, rng = Simulator(scenario), np.random.default_rng(0)
    written = 0
    for sweep in range(count):
        played = {split: simulator.draw(rng) for split in SPLITS}
        for name in played[SPLITS[0]]:
            for seed in range(SEEDS):
                phases = (("base", BASE),) if name == BASE else (("base", BASE), ("final", name))
                evaluations = tuple(
                    evaluation(phase, split, played[split][who][seed])
                    for phase, who in phases
                    for split in SPLITS
                )
                folder = root / f"sweep{sweep}" / f"{name}-seed{seed}"
                folder.mkdir(parents=True)
                made = record(name, seed, evaluations, f"algorithm{sweep}")
                (folder / "record.json").write_text(made.to_json())
                written += 1
                if written == count:
                    return written
    return written


def main() -> None:
    """Print how long each step took, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("bench/results/leaderboard_speed.json"))
    args = parser.parse_args()
    result: dict[str, float] = {"records": args.records}
    with tempfile.TemporaryDirectory() as folder:
        write_sweeps(Path(folder), count=args.records)
        wall, cpu = time.perf_counter(), time.process_time()
        gathered = gather([Path(folder)])
        result["gather seconds"] = round(time.perf_counter() - wall, 2)
        result["gather processor seconds"] = round(time.process_time() - cpu, 2)
        result["tables"] = len(gathered.boards)
        for write in (tables.terminal, tables.markdown, json_csv.as_csv):
            cpu = time.process_time()
            write(gathered)
            result[f"{write.__name__} processor seconds"] = round(time.process_time() - cpu, 2)
        cpu = time.process_time()
        json_csv.as_json(gathered)
        result["as_json processor seconds"] = round(time.process_time() - cpu, 2)
    sys.stdout.write(f"{json.dumps(result)}\n")
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
