"""Measure the cost of training whole weights and adapters, on the same episodes.

    python bench/lora.py [--tasks 8] [--rounds 5] [--rank 8] [--out FILE]

The embedded model plays groups of eight in ALFWorld once; every way of learning then makes the
preset's update of them, in turn, so that other load on the machine affects all alike. Times are CPU
seconds of this process with one thread, the median over the rounds; bytes are those of AdamW's
averages.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gradient_signal import play

from layerbench.benchmarks.runs import prepare, resolve
from layerbench.rl.advantages import group_advantages
from layerbench.rl.batching import make_sequences
from layerbench.rl.trainer import make_learner
from layerbench.rl.update import Learner, update

LAYERS = ("15", "all-layers", "full")


def learner_of(layers: str, rank: int) -> Learner:
    """Load the model again, so that every way of learning starts from the base model."""
    prepared = prepare.prepare(resolve.load("alfworld", [f"layers={layers}"]))
    settings = replace(prepared.config.train, lora_rank=rank)
    return make_learner(prepared.model, prepared.selection, settings, seed=0)


def state_bytes(learner: Learner) -> int:
    """Count the bytes of the optimizer's averages."""
    kept = (value for state in learner.optimizer.state.values() for value in state.values())
    return sum(value.nbytes for value in kept if value.dim())


def main() -> None:
    """Print a line for every way of learning, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("bench/results/lora.json"))
    args = parser.parse_args()
    prepared = prepare.prepare(resolve.load("alfworld", ["layers=15"]))
    groups = play(prepared, tasks=args.tasks, seed=0)
    training = prepared.config.train
    sequences = make_sequences(groups, group_advantages(groups, prepared.algorithm))
    ways = [(layers, rank) for layers in LAYERS for rank in (0, args.rank)]
    # Adapters of all are those of all layers.
    ways.remove(("full", args.rank))
    learners = {way: learner_of(*way) for way in ways}
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, learner in learners.items():
            started = time.process_time()
            update(learner, sequences, training, rng=np.random.default_rng(0))
            seconds[way].append(time.process_time() - started)
    rows: list[dict[str, Any]] = []
    for (layers, rank), learner in learners.items():
        row = {
            "layers": layers,
            "lora_rank": rank,
            "learned": sum(p.numel() for p in learner.masters.stepped.values()),
            "adam_bytes": state_bytes(learner),
            "update_s": round(statistics.median(seconds[layers, rank]), 3),
        }
        rows.append(row)
        sys.stdout.write(f"{row}\n")
    found = {"episodes": sum(len(group.trajectories) for group in groups), "rounds": args.rounds}
    args.out.write_text(json.dumps({**found, "ways": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
