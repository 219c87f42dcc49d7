import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from layerbench.benchmarks.records.run_folder import Start
from layerbench.benchmarks.sweep import progress
from layerbench.benchmarks.sweep.progress import SweepProgress
from tests.support import small_sweep


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_INTERVAL_S", 3600.0)


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=120, force_terminal=terminal), text


def poll(shown: SweepProgress) -> None:
    """Poll at once."""
    shown._poll()  # pyright: ignore[reportPrivateUsage]


def test_starts_and_ends_are_lines(tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path)
    base, full, layer = plan.runs
    small_sweep.finish(base)
    small_sweep.begin(full, iterations=1)
    out, text = console(terminal=False)
    with SweepProgress(plan, out) as shown:
        with full.folder.open(full.config, Start.CONTINUE):
            poll(shown)
            full.folder.finish(small_sweep.record_of(full))
        poll(shown)
        with layer.folder.open(layer.config, Start.CONTINUE):
            poll(shown)
        layer.folder.error_log.write_text("out of memory")
    assert re.sub(r"about \d+ s", "about N s", text.getvalue()).splitlines() == [
        "start  full seed 0, after iteration 1",
        "done   full seed 0  seen 0.75 (3/4) 0.30-0.95  2/3 runs, about N s left",
        "start  layer 0 seed 0",
        f"failed layer 0 seed 0  see {layer.folder.error_log}",
    ]


def test_a_terminal_shows_each_run_in_flight_and_the_total(tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path)
    small_sweep.finish(plan.base[0])
    full = plan.trained[0]
    out, text = console(terminal=True)
    with SweepProgress(plan, out) as shown, full.folder.open(full.config, Start.CONTINUE):
        full.folder.metrics.write_text('{"iteration": 0, "success": 0.25}\n')
        poll(shown)
        shown._bars.refresh()  # pyright: ignore[reportPrivateUsage]
        shown_text = text.getvalue()
    assert "full seed 0" in shown_text
    assert "1/2  success 0.25" in shown_text
    assert "1/3 runs, 1 in flight, about " in shown_text
