"""Measure the peak memory of one optimizer step beside that of scoring the same batch.

    python bench/update_memory.py [--models embedded,smollm2] [--sequences 4] [--tokens 256]
                                  [--out FILE]

Each way runs in a process of its own: it loads the model and takes one step, and what counts is the
peak resident memory over that of the process before it has a model. ``inference`` scores the
decisions without gradients; ``plain``, ``played``, ``checkpointed`` and ``transformers`` are
those of ``update_step.py``, here with one epoch. Prints a table of shares of ``inference``, writes
JSON.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import torch
from update_step import make_model, make_sequences, settings, steps

from layerbench.benchmarks.records import processors
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.update import logprobs

VARIANTS = ("plain", "played", "checkpointed", "transformers")
PASSES = "one epoch"


def take(args: argparse.Namespace) -> float:
    """Take one way in this process, and give the MB (1e6 bytes) that it needed at its peak."""
    torch.set_num_threads(1)
    before = psutil.Process().memory_info().rss
    model = make_model(args.models)
    sequences = make_sequences(model, args.sequences, args.tokens)
    if args.take == "inference":
        asked = settings(PASSES, reuse=False)
        selection = parse_selection("0", len(decoder_blocks(model)))
        logprobs(make_learner(model, selection, asked, seed=0), sequences, asked)
    else:
        selection, variant = args.take.split(":")
        # Made one after the other: the learners of the others are dropped before they step.
        for step in steps(model, selection, sequences, PASSES, None):
            if step.variant == variant:
                step.run()
                break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - before) / 1e6


def main() -> None:
    """Measure every way of every model, print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default="embedded,smollm2")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--take", default="", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("update_memory.json"))
    args = parser.parse_args()
    if args.take:
        sys.stdout.write(f"{take(args)}\n")
        return
    result: dict[str, Any] = {
        "command": " ".join(["python bench/update_memory.py", *sys.argv[1:]]),
        "processor": processors.cpu(),
        "torch": torch.__version__,
        "sequences": args.sequences,
        "tokens": args.tokens,
        "models": {},
    }
    for name in args.models.split(","):
        total = len(decoder_blocks(make_model(name)))
        layers = ["full", *(str(n) for n in (0, total // 4, total // 2, 3 * total // 4, total - 1))]

        def measure(way: str, name: str = name) -> float | None:
            argv = [sys.executable, __file__, "--models", name, "--take", way]
            argv += ["--sequences", str(args.sequences), "--tokens", str(args.tokens)]
            done = subprocess.run(argv, capture_output=True, text=True, check=True)
            return round(float(done.stdout.split()[-1]), 1)

        found: dict[str, Any] = {"inference": measure("inference")}
        sys.stdout.write(f"{name}: scoring takes {found['inference']} MB; a step, of that\n")
        sys.stdout.write(f"{'layer':>6}" + "".join(f"{v:>14}" for v in VARIANTS) + "\n")
        for layer in layers:
            ways = [v for v in VARIANTS if (v, layer) not in {("played", "full"), ("played", "0")}]
            row = {variant: measure(f"{layer}:{variant}") for variant in ways}
            found[layer] = row
            shares = (f"{row[v] / found['inference']:.2f}" if v in row else "" for v in VARIANTS)
            sys.stdout.write(f"{layer:>6}" + "".join(f"{s:>14}" for s in shares) + "\n")
        result["models"][name] = {"layers": total, "mb": found}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
