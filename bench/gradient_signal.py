"""Measure how far the policy gradients of separate batches agree, for several advantages.

    python bench/gradient_signal.py [--tasks 96] [--seed 11] [--out FILE]

The embedded model plays groups of eight once; every batch of eight groups gives one gradient. For
gradients g_i of n batches, agreement is the mean of g_i . g_j over pairs divided by the mean of
g_i . g_i: the share of a batch's squared gradient that is signal, 0 where batches have nothing in
common. It is an unbiased ratio of sums, after dividing each parameter's gradients by their root
mean square, as Adam does.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.benchmarks.runs import prepare, resolve
from layerbench.envs.pool import EnvPool
from layerbench.rl.advantages import group_advantages
from layerbench.rl.batching import make_sequences
from layerbench.rl.schedule import episode_seed
from layerbench.rl.settings import AdvantageSettings, Algorithm, Normalisation, TrainSettings
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Group
from layerbench.rl.update import Learner, accumulate_gradients, weigh

SIZE, BATCH = 8, 8
LAYERS = (0, 5, 10, 15, 19)

PUBLISHED = resolve.load("alfworld", preset="paper").algorithm
WAYS = {
    "grpo": replace(PUBLISHED, name=Algorithm.GRPO),
    "dr_grpo": replace(PUBLISHED, name=Algorithm.DR_GRPO),
    "gigpo": PUBLISHED,
    "gigpo, mean": replace(PUBLISHED, normalisation=Normalisation.MEAN),
    "gigpo, discount 0.9": replace(PUBLISHED, discount=0.9),
    "gigpo, discount 0.9, step weight 3": replace(PUBLISHED, discount=0.9, step_weight=3.0),
    "gigpo, discount 0.9, step weight 10": replace(PUBLISHED, discount=0.9, step_weight=10.0),
}


def play(prepared: prepare.PreparedRun, *, tasks: int, seed: int) -> list[Group]:
    """Play a group of each training task by the base model."""
    env = prepared.config.env
    requests = [
        EpisodeRequest(task, episode_seed(seed, place, member))
        for place, task in enumerate(prepared.train_tasks[:tasks])
        for member in range(SIZE)
    ]
    with EnvPool(
        prepared.identity.name,
        env.options,
        max_turns=env.max_turns,
        num_slots=env.slots,
        num_workers=env.workers,
    ) as pool:
        played = play_episodes(pool, prepared.agent, requests, temperature=1.0)
    return [Group(tuple(played[i : i + SIZE])) for i in range(0, len(played), SIZE)]


def gradient(
    learner: Learner, groups: Sequence[Group], ways: AdvantageSettings, settings: TrainSettings
) -> Float[np.ndarray, " P"]:
    """Compute the gradient of one batch with respect to all parameters P."""
    sequences = make_sequences(groups, group_advantages(groups, ways))
    nothing = [np.zeros(len(sequence.positions_D), np.float32) for sequence in sequences]
    learner.optimizer.zero_grad(set_to_none=True)
    accumulate_gradients(learner, weigh(sequences, nothing, settings.loss), settings)
    stepped = learner.masters.stepped.values()
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in stepped]
    return torch.cat([part.flatten() for part in parts]).numpy()


def agreement(gradients_NP: Float[np.ndarray, "N P"]) -> float:
    """Share of a batch's squared gradient that it has in common with other batches."""
    scale_P = np.sqrt((gradients_NP**2).mean(0)) + 1e-12
    products_NN = (scaled := gradients_NP / scale_P) @ scaled.T
    own, count = np.trace(products_NN), len(products_NN)
    return float((products_NN.sum() - own) / (count - 1) / own)


def main() -> None:
    """Print a line for every way of scoring, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=96)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("bench/results/gradient_signal.json"))
    args = parser.parse_args()
    prepared = prepare.prepare(resolve.load("alfworld", ["layers=full", f"seed={args.seed}"]))
    groups = play(prepared, tasks=args.tasks, seed=args.seed)
    learner = make_learner(
        prepared.model, prepared.selection, prepared.config.train, seed=args.seed
    )
    settings = prepared.config.train
    layers_P = np.concatenate(
        [
            np.full(p.numel(), int(found[1]) if (found := re.search(r"layers\.(\d+)", n)) else -1)
            for n, p in learner.parameters.items()
        ]
    )
    rows: dict[str, dict[str, float]] = {}
    for name, ways in WAYS.items():
        batches = [groups[i : i + BATCH] for i in range(0, len(groups), BATCH)]
        gradients_NP = np.stack([gradient(learner, b, ways, settings) for b in batches])
        row = {"full": agreement(gradients_NP)}
        row |= {f"layer {k}": agreement(gradients_NP[:, layers_P == k]) for k in LAYERS}
        rows[name] = {key: round(value, 4) for key, value in row.items()}
        sys.stdout.write(f"{name:38}{rows[name]}\n")
        sys.stdout.flush()
    found = {"tasks": args.tasks, "seed": args.seed, "agreement": rows}
    args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
