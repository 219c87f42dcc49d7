"""Time GiGPO's advantages over 100,000 turns; print the seconds and write them as JSON.

    python bench/advantages_speed.py [--turns N] [--out FILE]

The turns are those of groups of 8 episodes of up to 50 turns, at anchors that are often shared.
The time from episodes includes laying them out in columns and numbering their anchors.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.benchmarks.runs import resolve
from layerbench.envs.types import Observation
from layerbench.rl.advantages import gigpo, group_advantages, turn_table
from layerbench.rl.types import Group

GROUP_SIZE = 8
MAX_TURNS = 50
ROUNDS = 5


def make_groups(num_turns: int, *, seed: int) -> list[Group]:
    """Make episodes of random actions until there are ``num_turns`` turns, or a few more."""
    rng = np.random.default_rng(seed)
    response = Response((1,), (2,), (0.0,), ((2,),), "look")
    groups: list[Group] = []
    played = 0
    while played < num_turns:
        episodes: list[Trajectory] = []
        for member in range(GROUP_SIZE):
            length = int(rng.integers(10, MAX_TURNS + 1))
            won = length < MAX_TURNS and rng.random() < 0.5
            anchors = [f"You see place {place}." for place in rng.integers(0, 40, size=length)]
            rewards = [0.0] * (length - 1) + [float(won)]
            valid = (rng.random(length) < 0.95).tolist()
            turns = tuple(
                Turn(Observation(anchor, (), anchor), response, "look", ok, reward)
                for anchor, ok, reward in zip(anchors, valid, rewards, strict=True)
            )
            stop = StopReason.TERMINATED if won else StopReason.TURN_LIMIT
            task = f"task {len(groups)}"
            episodes.append(Trajectory(task, "", member, ContextMode.TRANSCRIPT, turns, stop, won))
            played += length
        groups.append(Group(tuple(episodes)))
    return groups


def best_seconds(work: Callable[[], object]) -> float:
    """Time the work a few times, and return its shortest time (s): the rest is other load."""
    times: list[float] = []
    for _ in range(ROUNDS):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure, print one line a measurement, and write them all if asked."""
    parser = argparse.ArgumentParser(description="Time GiGPO's advantages.")
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    groups = make_groups(arguments.turns, seed=0)
    settings = resolve.load("alfworld", preset="paper").algorithm
    table = turn_table(groups, settings)
    results = {
        "turns": len(table.rewards_N),
        "groups": len(groups),
        "seconds_from_columns": best_seconds(lambda: gigpo(table, settings)),
        "seconds_from_episodes": best_seconds(lambda: group_advantages(groups, settings)),
    }
    for name, value in results.items():
        sys.stdout.write(f"{name:22} {value:,.3f}\n" if "sec" in name else f"{name:22} {value:,}\n")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
