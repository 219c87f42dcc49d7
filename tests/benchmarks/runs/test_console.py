from dataclasses import replace

from layerbench.benchmarks.runs.console import iteration_line
from layerbench.rl.types import UpdateStats
from tests.support.metrics_example import example

METRICS = example(
    UpdateStats(
        loss=0.0125,
        kl=0.00042,
        clip_fraction=0.03,
        entropy=1.234,
        grad_norm=0.5,
        max_ratio=1.1,
        decisions=96,
        steps=2,
    )
)


def test_an_iteration_is_a_line() -> None:
    assert iteration_line(METRICS, iterations=20) == (
        "iteration 2/20  success 0.25 (16 episodes, 3/4 groups mixed)  reward 2.50  "
        "kl 0.0004  clip 0.030  entropy 1.23  grad 0.50  play 3.2 s  update 0.8 s"
    )


def test_what_was_not_measured_is_a_dash() -> None:
    no_kl = replace(METRICS, update=replace(METRICS.update, kl=None))
    assert " kl -  clip 0.030 " in iteration_line(no_kl, iterations=20)
    nothing = replace(METRICS, update=UpdateStats(decisions=0, steps=0))
    line = iteration_line(nothing, iterations=20)
    assert " kl -  clip -  entropy -  grad -  play 3.2 s " in line
