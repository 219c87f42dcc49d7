"""The rows of ``metrics.jsonl``."""

import json
from pathlib import Path

from layerbench.rl.metrics import append_metrics, from_row, to_row
from layerbench.rl.types import UpdateStats
from tests.support.metrics_example import example

METRICS = example(UpdateStats(loss=0.0125, entropy=1.25, decisions=96, steps=2, mismatch=0.5))


def test_a_line_is_flat_and_in_the_order_of_earlier_files(tmp_path: Path) -> None:
    append_metrics(tmp_path / "metrics.jsonl", METRICS)
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"iteration": 1, "episodes": 16, "failed": 0, "groups": 4, "mixed_groups": 3, '
        '"success": 0.25, "reward": 2.5, "turns": 6.0, "valid": 1.0, "learning_rate": 1e-06, '
        '"loss": 0.0125, "kl": null, "clip_fraction": null, "entropy": 1.25, "grad_norm": null, '
        '"max_ratio": null, "decisions": 96, "steps": 2, "play_s": 3.25, "update_s": 0.75, '
        '"mismatch": 0.5, "max_mismatch": null, "capped": null}\n'
    )


def test_a_row_is_read_back() -> None:
    assert from_row(json.loads(json.dumps(to_row(METRICS)))) == METRICS
