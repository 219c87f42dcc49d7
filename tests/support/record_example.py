"""A small, complete record, for tests."""

import dataclasses

from layerbench.benchmarks.records import record_sections, run_record, sharpening
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import (
    Count,
    TaskOutcome,
    paired_difference,
    pool,
    pool_by_type,
)


def evaluation(
    phase: str, wins: tuple[int, ...], *, split: str = "seen", temperature: float = 1.0
) -> record_sections.Evaluation:
    outcomes = tuple(
        TaskOutcome(f"task-{i}", "open" if i % 2 else "look", Count(1, 0, won))
        for i, won in enumerate(wins)
    )
    return record_sections.Evaluation(
        phase=phase,
        split=split,
        temperature=temperature,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        stops={"terminated": sum(wins), "turn_limit": len(wins) - sum(wins)},
        outcomes=outcomes,
        mean_turns=2.5,
        invalid_share=0.0,
        tokens=12,
        seconds=0.5,
        mean_return=sum(wins) / len(wins),
    )


def example_at_temperatures() -> RunRecord:
    """A record whose base does as well by a lower temperature as by training."""
    plain = example()
    base, final = plain.evaluations
    wins = {
        ("base", "seen", 0.0): (1, 1, 1, 0),
        ("final", "seen", 0.0): (1, 1, 1, 0),
        ("base", "train", 1.0): (0, 0, 1, 0),
        ("base", "train", 0.0): (1, 1, 1, 0),
        ("final", "train", 1.0): (1, 1, 1, 1),
        ("final", "train", 0.0): (1, 1, 1, 1),
    }
    others = [
        evaluation(phase, won, split=split, temperature=temperature)
        for (phase, split, temperature), won in wins.items()
    ]
    evaluations = (base, *others[0:1], *others[2:4], final, *others[1:2], *others[4:])
    best = sharpening.best_temperatures(evaluations, validation_split="train")
    return dataclasses.replace(
        plain,
        evaluations=evaluations,
        best_temperatures=best,
        best_differences=sharpening.best_differences(
            evaluations, best, splits=("seen",), base="base", final="final"
        ),
    )


def example() -> RunRecord:
    base, final = evaluation("base", (0, 1, 0, 0)), evaluation("final", (1, 1, 1, 0))
    return RunRecord(
        schema=run_record.SCHEMA,
        env=record_sections.EnvRecord(
            name="keydoor",
            gym_id="layerbench/KeyDoor-v0",
            source="keydoor",
            version="0",
            train_split="train",
            eval_splits=("seen",),
        ),
        model=record_sections.ModelRecord(
            name="tiny", revision="", weights_sha256="ab", dtype="float32", parameters=1000
        ),
        selection=record_sections.SelectionRecord(
            name="1",
            layers=(1,),
            num_layers=2,
            parameters=100,
            share=0.1,
            weights_sha256="cd",
        ),
        algorithm="gigpo",
        preset="quick",
        seed=3,
        settings={"seed": 3, "train": {"iterations": 2}},
        code=record_sections.CodeRecord(
            version="0.1.0", revision="", dirty=False, packages={"torch": "2.11.0"}
        ),
        evaluations=(base, final),
        differences={"seen": paired_difference(base.outcomes, final.outcomes)},
        best_temperatures={},
        best_differences={},
        training=record_sections.TrainingRecord(
            iterations=2,
            tasks=4,
            episodes=16,
            turns=40,
            decisions=38,
            seconds={"play": 1.0, "update": 0.25},
        ),
        movement=record_sections.MovementRecord(
            per_layer={"1": 0.01}, per_matrix={"model.layers.1.mlp.down_proj.weight": 0.01}
        ),
        started="2026-01-02T03:04:05+00:00",
        peak_memory_mb=512.0,
        hardware=record_sections.HardwareRecord(
            device="cpu", threads=1, cpus=2, platform="Linux x86_64", processor="Some CPU"
        ),
    )
