"""One iteration's metrics."""

from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.types import UpdateStats


def example(update: UpdateStats) -> IterationMetrics:
    return IterationMetrics(
        iteration=1,
        episodes=16,
        failed=0,
        groups=4,
        mixed_groups=3,
        success=0.25,
        reward=2.5,
        turns=6.0,
        valid=1.0,
        learning_rate=1e-6,
        update=update,
        play_s=3.25,
        update_s=0.75,
    )
