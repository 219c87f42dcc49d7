"""Simulate pairs of policies whose true difference is known, and count how often compare is right.

    python bench/coverage_compare.py [--simulations 500] [--out FILE]

The policies are played by the logistic model of ``simulated_sweeps.py``. Counted are how often the
95 % interval of B - A holds the true difference, how often a test at 5 % calls B better or worse
where they are equal, how often B is called within a margin that it just misses, and how often a
difference of the size that the design says it could have seen is seen.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from simulated_sweeps import BASE, FULL, Scenario, Simulator

from layerbench.benchmarks.stats.contribution import Standing
from layerbench.benchmarks.stats.paired import PairedDifference, Played, compare_played
from layerbench.benchmarks.stats.success import Count, TaskOutcome


@dataclass(frozen=True, slots=True)
class Design:
    """A kind of comparison: ``base`` is A, and ``full`` is B.

    Attributes:
        name: What is special about it.
        a: True success rate of A.
        b: True success rate of B.
        tasks: Number of tasks.
        episodes: Episodes of each task, by each training.
        seeds: Trainings of each side.
        a_trained: Whether A was trained, too.
        sd: Standard deviation of a training's effect on the success rate.
        task_sd: Spread of the tasks' difficulty, in logits.
    """

    name: str
    a: float
    b: float
    tasks: int = 128
    episodes: int = 1
    seeds: int = 1
    a_trained: bool = True
    sd: float = 0.0
    task_sd: float = 1.2


DESIGNS = (
    Design("one run each", 0.35, 0.50),
    Design("one run each, equal", 0.45, 0.45),
    Design("one run each, 32 tasks", 0.35, 0.55, tasks=32),
    Design("one run each, 32 tasks, equal", 0.35, 0.35, tasks=32),
    Design("one run each, 512 tasks, equal", 0.35, 0.35, tasks=512),
    Design("one run each, tasks hardly differ, equal", 0.50, 0.50, task_sd=0.1),
    Design("one run each, mostly won", 0.90, 0.95),
    Design("4 episodes a task", 0.35, 0.50, episodes=4),
    Design("4 episodes a task, equal", 0.45, 0.45, episodes=4),
    Design("3 trainings each", 0.35, 0.50, seeds=3, sd=0.03),
    Design("3 trainings each, equal", 0.45, 0.45, seeds=3, sd=0.03),
    Design("3 trainings each, much luck, equal", 0.45, 0.45, seeds=3, sd=0.06),
    Design("5 trainings each, equal", 0.45, 0.45, seeds=5, sd=0.03),
    Design("untrained and 3 trainings, equal", 0.45, 0.45, seeds=3, sd=0.03, a_trained=False),
)


def measure(design: Design, *, simulations: int, seed: int) -> dict[str, Any]:
    """Simulate one design many times."""
    rng = np.random.default_rng(seed)
    truth = design.b - design.a
    simulator = _simulator(design, design.b)
    found = [_play(design, simulator, rng) for _ in range(simulations)]
    holds = [f.difference.interval.low <= truth <= f.difference.interval.high for f in found]
    widths = [f.difference.interval.high - f.difference.interval.low for f in found]
    shares: dict[str, float] = {"held by the 95 % interval": float(np.mean(holds))}
    if truth:
        # Equivalence by a margin that the truth just fails: a false claim.
        shares["falsely within the true difference"] = float(
            np.mean([f.is_within(abs(truth)) for f in found])
        )
    else:
        clear = [f.standing is not Standing.UNCLEAR for f in found]
        shares["called different though equal"] = float(np.mean(clear))
        seen = [f.detectable for f in found if f.detectable]
        shares["median difference that could have been seen"] = float(np.median(seen))
        shares["seen at that difference"] = _power(design, float(np.median(seen)), rng, simulations)
    return {
        "design": asdict(design),
        "simulations": simulations,
        "median width": round(float(np.median(widths)), 3),
        **{name: round(share, 4) for name, share in shares.items()},
    }


def _power(design: Design, difference: float, rng: np.random.Generator, simulations: int) -> float:
    """Count how often a true difference is seen, placed about the equal rates."""
    a, b = design.a - difference / 2, design.a + difference / 2
    there = Design(**{**asdict(design), "a": a, "b": b})
    simulator = _simulator(there, b)
    found = [_play(there, simulator, rng) for _ in range(simulations)]
    return float(np.mean([f.standing is Standing.ABOVE for f in found]))


def _simulator(design: Design, b: float) -> Simulator:
    layers, sds = ((design.a,), (design.sd,)) if design.a_trained else ((), ())
    return Simulator(
        Scenario(
            design.name,
            base=design.a,
            full=b,
            layers=layers,
            full_sd=design.sd,
            layer_sds=sds,
            # One training's episodes differ in their luck alone, as seeds without effects do.
            seeds=design.seeds * design.episodes,
            tasks=design.tasks,
            task_sd=design.task_sd,
        )
    )


def _play(design: Design, simulator: Simulator, rng: np.random.Generator) -> PairedDifference:
    won = simulator.draw(rng)
    a = won["0" if design.a_trained else BASE]
    return compare_played(
        _played(a, design, trained=design.a_trained), _played(won[FULL], design, trained=True)
    )


def _played(won: Float[np.ndarray, "_r _n"], design: Design, *, trained: bool) -> Played:
    by_seed = won.reshape(design.seeds, design.episodes, design.tasks).sum(axis=1).astype(int)
    return Played(
        {
            seed: tuple(
                TaskOutcome(str(task), "", Count(design.episodes, 0, count))
                for task, count in enumerate(counts)
            )
            for seed, counts in enumerate(by_seed.tolist())
        },
        trained,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every design, print a line for each, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("bench/results/coverage_compare.json"))
    args = parser.parse_args(argv)
    results: list[dict[str, Any]] = []
    for seed, design in enumerate(DESIGNS):
        started = time.perf_counter()
        results.append(measure(design, simulations=args.simulations, seed=seed))
        shown = {n: v for n, v in results[-1].items() if n not in ("design", "simulations")}
        seconds = time.perf_counter() - started
        sys.stdout.write(f"{design.name} ({seconds:.0f} s)\n  {json.dumps(shown)}\n")
        sys.stdout.flush()
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
