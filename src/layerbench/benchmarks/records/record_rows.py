"""Records as flat rows, a row for each evaluation, for data frames."""

from collections.abc import Iterator
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records import comparability
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import interval_of, pooled


def rows(run: FoundRecord) -> Iterator[dict[str, Any]]:
    """Write a row for each phase, split and temperature that a run scored, in the order played.

    Every row has the run's columns, and a column ``settings.NAME`` for every setting.
    """
    of_run = {"path": str(run.path), **_run(run.record)}
    settings = serialize.flattened(run.record.settings, "settings.")
    for evaluation in run.record.evaluations:
        games = comparability.games_of(run.record, evaluation.split)
        yield {**of_run, "games": games, **_scores(evaluation), **settings}


def _run(record: RunRecord) -> dict[str, Any]:
    return {
        "env": record.env.name,
        "gym_id": record.env.gym_id,
        "model": record.model.name,
        "weights_sha256": record.model.weights_sha256,
        "selection": record.selection.name,
        "layers": record.selection.layers,
        "num_layers": record.selection.num_layers,
        "parameters": record.selection.parameters,
        "share": record.selection.share,
        "lora_rank": record.selection.lora_rank,
        "algorithm": record.algorithm,
        "preset": record.preset,
        "seed": record.seed,
        "iterations": record.training.iterations,
        "play_seconds": record.training.seconds.get("play", 0.0),
        "update_seconds": record.training.seconds.get("update", 0.0),
        "peak_memory_mb": record.peak_memory_mb,
        "device": record.hardware.device,
        "code": record.code.label,
        "started": record.started,
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    count = pooled(evaluation.outcomes)
    interval = interval_of(count)
    return {
        "split": evaluation.split,
        "phase": evaluation.phase,
        "temperature": evaluation.temperature,
        "success": count.rate,
        "success_low": interval.low,
        "success_high": interval.high,
        "won": count.successes,
        "played": count.planned,
        "failed": count.failed,
        "mean_return": evaluation.mean_return,
        "mean_turns": evaluation.mean_turns,
        "invalid_share": evaluation.invalid_share,
        "entropy": evaluation.entropy,
        "kl": evaluation.kl,
        "tokens": evaluation.tokens,
        "seconds": evaluation.seconds,
    }
