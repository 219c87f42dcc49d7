"""Synthetic records of sweeps, to test tables and pages and to measure their speed."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layerbench.benchmarks.records import json_codec, record_sections
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import (
    Count,
    TaskOutcome,
    paired_difference,
    pool,
    pool_by_type,
)
from tests.support.record_example import example

BASE_RATE, FULL_RATE = 0.3, 0.7


@dataclasses.dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep of the base model, ``full`` and each of some selections.

    Attributes:
        layers: Selections beside ``none`` and ``full``.
        seeds: Seeds of training.
        num_layers: Decoder blocks of the model.
        env: Name of the environment, as in a record.
        model: Name of the model.
        algorithm: Name of the advantage estimator.
        splits: Splits of the evaluation tasks.
        tasks: Number of tasks of each split.
        iterations: Iterations of training.
        types: Four kinds of task.
    """

    layers: Sequence[str]
    seeds: Sequence[int] = (0, 1, 2)
    num_layers: int = 12
    env: str = "keydoor"
    model: str = "tiny"
    algorithm: str = "gigpo"
    splits: tuple[str, ...] = ("seen",)
    tasks: int = 32
    iterations: int = 10
    types: Sequence[str] = ("clean", "heat", "look", "put two")


def write(root: Path, sweep: Sweep) -> int:
    """Write the run folders of a sweep, and return their number."""
    runs = [(layers, seed) for layers in ("none", "full", *sweep.layers) for seed in sweep.seeds]
    for layers, seed in runs:
        record = _record(sweep, layers, seed)
        folder = root / f"{sweep.env}-{sweep.model}-{layers}-{sweep.algorithm}-seed{seed}"
        folder.mkdir(parents=True)
        json_codec.write(folder / "record.json", record)
        if layers != "none":
            (folder / "metrics.jsonl").write_text(_metrics(sweep, layers, seed))
    return len(runs)


def _rate(sweep: Sweep, layers: str) -> float:
    """Choose a success rate that is highest in the middle of the stack."""
    if layers in ("none", "full"):
        return BASE_RATE if layers == "none" else FULL_RATE
    depth = int(layers.split(",")[0].split("-")[0]) / max(sweep.num_layers - 1, 1)
    return BASE_RATE + (FULL_RATE - BASE_RATE) * (1 - 2 * abs(depth - 0.5))


def _rng(*names: object) -> np.random.Generator:
    return np.random.default_rng([*"/".join(map(str, names)).encode()])


def _evaluation(sweep: Sweep, phase: str, split: str, layers: str, seed: int) -> Evaluation:
    task = _rng("task", sweep.env, sweep.model, split).random(sweep.tasks)
    luck = _rng(sweep.env, sweep.model, sweep.algorithm, split, layers, seed).random(sweep.tasks)
    # Half of the draw is the task's, equal for all selections: tasks pair them.
    won = (task + luck) / 2 < _rate(sweep, layers)
    outcomes = tuple(
        TaskOutcome(f"{split}/{index:03}", sweep.types[index % 4], Count(1, 0, int(success)))
        for index, success in enumerate(won)
    )
    return record_sections.Evaluation(
        phase=phase,
        split=split,
        temperature=1.0,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        stops={"terminated": int(won.sum()), "turn_limit": int((~won).sum())},
        outcomes=outcomes,
        mean_turns=9.5,
        invalid_share=0.0,
        tokens=1000,
        seconds=1.0,
        mean_return=float(won.mean()),
    )


def _record(sweep: Sweep, layers: str, seed: int) -> RunRecord:
    base = [_evaluation(sweep, "base", split, "none", seed) for split in sweep.splits]
    final = [_evaluation(sweep, "final", split, layers, seed) for split in sweep.splits]
    trains = layers != "none"
    whole = example()
    chosen = _layers(sweep, layers)
    parameters = {"none": 0, "full": 1000}.get(layers, 40 * len(chosen))
    moved = 0.02 + 0.1 * _rng(sweep.model, layers, seed).random()
    return dataclasses.replace(
        whole,
        env=dataclasses.replace(
            whole.env, name=sweep.env, gym_id=f"layerbench/{sweep.env}-v0", eval_splits=sweep.splits
        ),
        model=dataclasses.replace(whole.model, name=sweep.model, weights_sha256="ab" * 32),
        selection=record_sections.SelectionRecord(
            name=layers,
            layers=chosen,
            num_layers=sweep.num_layers,
            parameters=parameters,
            share=parameters / 1000,
            weights_sha256="cd" * 32,
        ),
        algorithm=sweep.algorithm,
        seed=seed,
        settings=_settings(sweep, layers, seed),
        code=dataclasses.replace(whole.code, revision="0123456789" * 4),
        evaluations=(*base, *(final if trains else ())),
        differences={
            b.split: paired_difference(b.outcomes, f.outcomes)
            for b, f in zip(base, final, strict=True)
            if trains
        },
        training=record_sections.TrainingRecord(
            iterations=sweep.iterations if trains else 0,
            tasks=4 if trains else 0,
            episodes=160 if trains else 0,
            turns=400 if trains else 0,
            decisions=380 if trains else 0,
            seconds={"play": 1.0, "update": 0.2 + parameters / 1000} if trains else {},
        ),
        movement=record_sections.MovementRecord(
            {str(n): moved * (1 + 0.1 * n) for n in chosen}, {}
        ),
        started=f"2026-01-02T03:{seed % 60:02}:05+00:00",
        peak_memory_mb=400.0 + parameters / 10,
    )


def _layers(sweep: Sweep, layers: str) -> tuple[int, ...]:
    if layers in ("none", "full"):
        return tuple(range(sweep.num_layers)) if layers == "full" else ()
    return tuple(int(layer) for layer in layers.split(","))


def _settings(sweep: Sweep, layers: str, seed: int) -> Mapping[str, Any]:
    return {
        "layers": layers,
        "seed": seed,
        "algorithm": {"name": sweep.algorithm},
        "model": {"name": sweep.model},
        "eval": {"tasks": sweep.tasks},
    }


def _metrics(sweep: Sweep, layers: str, seed: int) -> str:
    rise = np.linspace(BASE_RATE, _rate(sweep, layers), sweep.iterations)
    noise = _rng("curve", sweep.model, layers, seed).normal(0, 0.05, sweep.iterations)
    rows = [
        {"iteration": n, "success": float(value)}
        for n, value in enumerate(np.clip(rise + noise, 0, 1))
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)
