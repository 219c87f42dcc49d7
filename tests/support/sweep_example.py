"""The records of a small sweep, written as runs leave them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.stats.success import (
    Count,
    TaskOutcome,
    paired_difference,
    pool,
    pool_by_type,
)
from tests.support.record_example import evaluation, example

TASKS = 60
LAYERS = 4


@dataclass(frozen=True, slots=True)
class Like:
    """Fields that all records of a sweep share."""

    weights: str = "ab"
    split: str = "test"
    games: str = "keydoor"
    iterations: int = 2
    layer_rate: float = 1e-3


def write_sweep(root: Path, wins: Mapping[str, int], like: Like = Like()) -> Path:
    """Write a record for each selection, by the tasks it wins of ``TASKS``; the base wins 10."""
    for selection, won in wins.items():
        write_record(root / selection.replace(":", ""), selection, won, like)
    return root


def write_record(
    folder: Path,
    selection: str,
    won: int,
    like: Like = Like(),
    *,
    seed: int = 0,
) -> None:
    base, final = (scored(phase, n, like) for phase, n in (("base", 10), ("final", won)))
    trains = selection != "none"
    settings = resolve.load("keydoor", [f"train.iterations={like.iterations}"], preset="quick")
    plain, recorded = example(), serialize.as_dict(settings)
    recorded["train"]["layer_learning_rate"] = like.layer_rate
    record = replace(
        plain,
        env=replace(plain.env, version="v0", source=like.games, eval_splits=(like.split,)),
        model=replace(plain.model, name="tiny", weights_sha256=like.weights),
        selection=replace(
            plain.selection, name=selection, layers=layers_of(selection), num_layers=LAYERS
        ),
        evaluations=(base, final) if trains else (base,),
        differences=(
            {like.split: paired_difference(base.outcomes, final.outcomes)} if trains else {}
        ),
        seed=seed,
        settings=recorded | {"layers": selection},
    )
    folder.mkdir(parents=True, exist_ok=True)
    RunFolder(folder).record.write_text(record.to_json())


def layers_of(selection: str) -> tuple[int, ...]:
    first = selection.split()[0]
    return (int(first),) if first.isdigit() else tuple(range(LAYERS)) if first == "full" else ()


def scored(phase: str, won: int, like: Like) -> Evaluation:
    outcomes = tuple(
        TaskOutcome(f"task-{i}", "open", Count(1, 0, int(i < won))) for i in range(TASKS)
    )
    return replace(
        evaluation(phase, (0,)),
        split=like.split,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        outcomes=outcomes,
    )
