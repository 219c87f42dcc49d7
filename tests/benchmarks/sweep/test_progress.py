import io
from pathlib import Path

import pytest
from rich.console import Console

from layerbench.benchmarks.records.run_folder import Start
from layerbench.benchmarks.sweep import progress
from layerbench.benchmarks.sweep.progress import SweepProgress
from tests.support import small_sweep


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 3600.0)


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=120, force_terminal=terminal), text


def look(shown: SweepProgress) -> None:
    """Look now, not when the second is over."""
    shown._look()  # pyright: ignore[reportPrivateUsage]


def test_starts_and_ends_are_lines(tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path)
    base, full, layer = plan.runs
    small_sweep.finish(base)
    small_sweep.begin(full, iterations=1)
    to, text = console(terminal=False)
    with SweepProgress(plan, to) as shown:
        with full.folder.open(full.config, Start.CONTINUE):
            look(shown)
            full.folder.finish(small_sweep.record_of(full))
        look(shown)
        with layer.folder.open(layer.config, Start.CONTINUE):
            look(shown)
        layer.folder.error_log.write_text("out of memory")
    assert text.getvalue().splitlines() == [
        "start  full seed 0, after iteration 1",
        "done   full seed 0  seen 0.75 (3/4) 0.30-0.95",
        "start  layer 0 seed 0",
        f"failed layer 0 seed 0  see {layer.folder.error_log}",
    ]


def test_a_terminal_shows_each_run_in_flight_and_the_total(tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path)
    small_sweep.finish(plan.base[0])
    full = plan.trained[0]
    to, text = console(terminal=True)
    with SweepProgress(plan, to) as shown, full.folder.open(full.config, Start.CONTINUE):
        small_metrics = '{"iteration": 0, "success": 0.25}\n'
        full.folder.metrics.write_text(small_metrics)
        look(shown)
        shown._bars.refresh()  # pyright: ignore[reportPrivateUsage]
        seen = text.getvalue()
    assert "full seed 0" in seen
    assert "1/2  success 0.25" in seen
    assert "1/3 runs, 1 in flight, about " in seen
