"""Draw the study's figures from its records, by the forms of the leaderboard's charts.

    python bench/study_figures.py [--records docs/study/records] [--out docs/study]

Needs the extra ``layerbench[html]``. Writes one SVG for each split, GiGPO beside GRPO:
contribution by layer, training curves, success by temperature where it was measured, and movement
against contribution.
"""

import argparse
import importlib
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerbench.benchmarks.html import charts
from layerbench.benchmarks.html.curves import read_success
from layerbench.benchmarks.html.table_section import Section, chart_data, section
from layerbench.benchmarks.leaderboard.build import gather

vl_convert: Any = importlib.import_module("vl_convert")

WIDTH = 420
INK, SOFT, LINE, MARK, PAPER = "#1a1e24", "#566070", "#d9dde3", "#0b5cad", "#ffffff"
_SCHEME = ["#b9d4ef", "#5f9bd6", "#0b5cad", "#062f5a"]

# As on the page: marks have names, and these give the names their looks.
CONFIG: Mapping[str, Any] = {
    "background": PAPER,
    "font": "DejaVu Sans, sans-serif",
    "view": {"stroke": None},
    "range": {"ramp": _SCHEME},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": LINE,
        "titleFontWeight": "normal",
    },
    "title": {"color": INK, "anchor": "start", "fontSize": 13},
    "style": {
        "reference": {"color": SOFT, "strokeDash": [5, 4]},
        "reference-label": {"color": SOFT},
        "interval": {"color": MARK, "strokeWidth": 2, "opacity": 0.6},
        "clear": {"color": MARK, "filled": True, "size": 80, "opacity": 1},
        "unclear": {"color": MARK, "fill": PAPER, "strokeWidth": 2, "size": 70, "opacity": 1},
        "curve": {"strokeWidth": 1.8},
        "curve-whole": {"color": INK, "strokeWidth": 2.6},
        "target": {"opacity": 0},
        "point-label": {"color": SOFT},
    },
}


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    here = Path(__file__).resolve().parents[1] / "docs/study"
    parser.add_argument("--records", type=Path, default=here / "records")
    parser.add_argument("--out", type=Path, default=here)
    args = parser.parse_args()
    sections = [
        section(board, page=args.out, read=read_success) for board in gather([args.records]).boards
    ]
    by_env = itertools.groupby(sorted(sections, key=_place), key=_place)
    for (env, split), group in by_env:
        path = args.out / f"{env}-{split}.svg"
        path.write_text(vl_convert.vegalite_to_svg(_figure(list(group)), config=CONFIG))
        sys.stdout.write(f"wrote {path}\n")


def _place(part: Section) -> tuple[str, str]:
    return part.board.key.games, part.board.key.split


def _figure(sections: list[Section]) -> dict[str, Any]:
    """Lay the charts of one split out: two columns, or one for each algorithm."""
    charts = [
        _chart(form, part, title)
        for form, title in (
            ("layers", "contribution C of each layer trained alone, 95 %"),
            ("curves", "success in training, mean over seeds, 5 iterations"),
            ("temperatures", "success by temperature"),
            ("movement", "contribution against relative movement"),
        )
        for part in sections
        if form != "temperatures" or chart_data(part)["temperatures"]
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "concat": charts,
        "columns": max(2, len(sections)),
        "resolve": {"scale": {"color": "independent"}},
    }


def _chart(form: str, part: Section, title: str) -> dict[str, Any]:
    data = dict(chart_data(part))
    data["curves"] = [
        {"selection": c["selection"], "layer": c["layer"], "iteration": i, "success": success}
        for c in data["curves"]
        for i, success in enumerate(c["success"])
    ]
    return {
        **_inlined(charts.forms()[form], data),
        "width": WIDTH,
        "title": f"{part.board.key.algorithm}: {title}",
    }


def _inlined(form: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Put the data where a form names it: all charts of a figure would share the names."""
    new = {key: value for key, value in form.items() if key != "autosize"}
    if "data" in form:
        new["data"] = {"values": data[form["data"]["name"]]}
    if "layer" in form:
        new["layer"] = [_inlined(layer, data) for layer in form["layer"]]
    return new


if __name__ == "__main__":
    main()
