"""The data of a table's charts."""

from pathlib import Path

from layerbench.benchmarks.html.curves import read_success
from layerbench.benchmarks.html.table_section import chart_data, section
from layerbench.benchmarks.leaderboard.build import gather
from tests.support.sweep_example import write_sweep


def test_base_full_and_floor_controls_are_lines_with_names_at_different_ends(
    tmp_path: Path,
) -> None:
    wins = {"none": 10, "full": 50, "norm": 20, "1": 30}
    (board,) = gather([write_sweep(tmp_path, wins)]).boards
    data = chart_data(section(board, page=tmp_path, read=read_success))
    lines = [(line["name"], line["layer"], line["value"], line["named"]) for line in data["lines"]]
    assert sorted(lines) == [
        ("base", 0, 0, ""),
        ("base", 3, 0, "right"),
        ("full", 0, 1, ""),
        ("full", 3, 1, "right"),
        ("norm", 0, 0.25, "left"),
        ("norm", 3, 0.25, ""),
    ]
    assert [point["selection"] for point in data["layers"]] == ["1"]
