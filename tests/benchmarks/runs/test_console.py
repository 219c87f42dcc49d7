import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from layerbench.benchmarks.runs.console import ConsoleReporter, LogReporter, iteration_line
from layerbench.benchmarks.runs.time_left import TimeLeft
from layerbench.rl.types import UpdateStats
from tests.support import record_example
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


@pytest.mark.parametrize("in_notebook", [True, False])
def test_a_notebook_is_no_terminal_though_it_says_so(
    in_notebook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: in_notebook)
    text = io.StringIO()
    monkeypatch.setattr(text, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", text)
    reporter = ConsoleReporter()
    with reporter:
        reporter.playing("base test", done=1, episodes=2)
    # Terminals are steered by escape sequences.
    assert ("\x1b" not in text.getvalue()) == in_notebook


@pytest.mark.parametrize("columns", [60, 80, 100, 132])
def test_the_line_of_an_iteration_fits_the_terminal(columns: int) -> None:
    late = replace(METRICS, iteration=1199, update=replace(METRICS.update, mismatch=0.1))
    line = iteration_line(late, iterations=1500, left=93_784.0, width=columns)
    assert len(line) <= columns
    assert line.startswith("iteration 1200/1500  success 0.25")
    # 93,784 s are 26 h 3 min.
    assert line.endswith("  about 26 h 3 min left") == (columns >= 60)
    assert ("groups mixed" in line) == (columns > 60)


def test_the_time_left_is_that_of_iterations_and_of_the_final_evaluation() -> None:
    now = iter([100.0, 110.0, 140.0])
    left = TimeLeft(lambda: next(now))
    # The example's base evaluation took 0.5 s; training begins at 100 s.
    left.evaluated(record_example.example().evaluations[0])
    # 10 s for the first of 3 iterations: 2 * 10 + 0.5.
    assert left.trained(replace(METRICS, iteration=0), iterations=3) == 20.5
    # 10 s and 30 s: the mean is 20 s, for the one that is left.
    assert left.trained(replace(METRICS, iteration=1), iterations=3) == 20.5


def test_the_pace_of_a_run_that_goes_on_is_that_of_its_first_iteration() -> None:
    left = TimeLeft(lambda: 0.0)
    # The example played for 3.2 s and updated for 0.8 s; 18 iterations are left.
    assert left.trained(METRICS, iterations=20) == pytest.approx(18 * 4.0)


def test_without_a_terminal_a_batch_has_a_line_each_half_minute(tmp_path: Path) -> None:
    times = (0.0, 10.0, 31.0, 40.0, 62.0, 80.0)
    dones = (0, 1, 4, 5, 8, 10)
    text = io.StringIO()
    first, second = iter(times), iter(times)
    on_stderr = ConsoleReporter(Console(file=text, width=40), clock=lambda: next(first))
    log = LogReporter(tmp_path / "run.log", clock=lambda: next(second))
    for done in dones:
        for reporter in (on_stderr, log):
            reporter.playing("base seen", done=done, episodes=10)
    # 4 of 10 in 31 s: 46 s more, which are rounded; 8 of 10 in 62 s: 15.5 s more.
    expected = [
        "base seen: 10 episodes",
        "base seen: 4/10 episodes, about 46 s left",
        "base seen: 8/10 episodes, about 16 s left",
    ]
    assert text.getvalue().splitlines() == expected
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == expected


def test_a_terminal_has_bars_with_the_time_left() -> None:
    text, times = io.StringIO(), iter([0.0, 30.0])
    console = Console(file=text, width=60, force_terminal=True)
    with ConsoleReporter(console, clock=lambda: next(times)) as reporter:
        reporter.playing("base seen", done=0, episodes=4)
        reporter.playing("base seen", done=1, episodes=4)
    assert "1/4\x1b[0m about 2 min left" in text.getvalue()


def test_what_is_said_before_there_is_a_folder_is_in_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    log = LogReporter(folder / "run.log")
    log.say("loading the tasks")
    assert not folder.exists()
    folder.mkdir()
    log.say("run folder")
    lines = (folder / "run.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["loading the tasks", "run folder"]


def test_an_iteration_without_a_step_says_why() -> None:
    nothing = replace(METRICS, update=UpdateStats(decisions=0, steps=0), mixed_groups=0)
    assert iteration_line(nothing, iterations=20) == (
        "iteration 2/20  success 0.25 (16 episodes, 0/4 groups mixed)  reward 2.50  "
        "no group's returns differed: nothing learned  play 3.2 s  update 0.8 s"
    )
    # A terminal without room for the reason still has the time left.
    assert iteration_line(nothing, iterations=20, left=30.0, width=80) == (
        "iteration 2/20  success 0.25  0/4 groups mixed  nothing learned  about 30 s left"
    )
    # Every turn had a single action.
    forced = iteration_line(replace(nothing, mixed_groups=3), iterations=20)
    assert "  no decision had an advantage: nothing learned  " in forced
