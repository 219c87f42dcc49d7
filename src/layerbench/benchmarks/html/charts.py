"""The charts as Vega-Lite specifications without data, which the page's script adds.

Specifications name no colours: marks have a ``style``, to which the script gives the colours of
the page's theme, so that the same chart is drawn in light and in dark.
"""

import importlib
from typing import Any

import altair as alt

# Its type information is incomplete.
vl_convert: Any = importlib.import_module("vl_convert")

SMOOTHING = 2
"""Iterations on each side that a training curve's moving mean covers."""

_HEIGHT = 280


def library() -> str:
    """Return the JavaScript that draws charts: vega, vega-lite and vega-embed."""
    # vl_convert bundles several versions of vega-lite; the charts are written in altair's.
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle: str = vl_convert.javascript_bundle(vl_version=version)
    return bundle


def forms() -> dict[str, dict[str, Any]]:
    """Return each chart as Vega-Lite that refers to its data by name."""
    charts = {
        "layers": _layers(),
        "curves": _curves(),
        "temperatures": _temperatures(),
        "divergence": _divergence(),
        "movement": _movement(),
        "correlations": _correlations(),
    }
    forms: dict[str, dict[str, Any]] = {}
    for name, chart in charts.items():
        form: dict[str, Any] = chart.to_dict()
        # altair's default theme would override the page's.
        del form["config"]
        forms[name] = form
    return forms


def _layers() -> alt.LayerChart:
    """Draw a value and its interval for every layer trained alone, with base and full as lines."""
    lines = alt.Chart(alt.NamedData("lines"))
    layers = alt.Chart(alt.NamedData("layers"))
    at = alt.X("layer:Q", title="layer", axis=_WHOLE, scale=_TIGHT)
    value = alt.Y("value:Q", title=None, scale=alt.Scale(padding=10))
    tooltip = [
        alt.Tooltip("selection:N", title="layer"),
        alt.Tooltip("words:N", title="95 %"),
        alt.Tooltip("verdict:N", title="verdict"),
    ]
    return _sized(
        lines.mark_line(style="reference").encode(at, value, detail="name:N"),
        *_line_names(lines, at, value),
        layers.mark_rule(style="interval").encode(at, alt.Y("low:Q", title=None), y2="high:Q"),
        layers.transform_filter("datum.better")
        .mark_point(style="clear")
        .encode(at, value, tooltip=tooltip),
        layers.transform_filter("!datum.better")
        .mark_point(style="unclear")
        .encode(at, value, tooltip=tooltip),
    )


def _curves() -> alt.LayerChart:
    """Draw success in training, the layers coloured by their depth."""
    curves = alt.Chart(alt.NamedData("curves")).transform_window(
        smooth="mean(success)",
        frame=[-SMOOTHING, SMOOTHING],
        groupby=["selection"],
        sort=[alt.SortField("iteration")],
    )
    at = alt.X(
        "iteration:Q",
        title="iteration",
        axis=_WHOLE,
        scale=alt.Scale(nice=False),
    )
    success = alt.Y("smooth:Q", title=None, scale=alt.Scale(zero=True))
    by_layer = alt.Color("layer:Q", title="layer", legend=alt.Legend(orient="top", tickMinStep=1))
    tooltip = [
        alt.Tooltip("selection:N", title="selection"),
        alt.Tooltip("iteration:Q", title="iteration"),
        alt.Tooltip("smooth:Q", title="success", format=".2f"),
    ]
    return _sized(
        curves.transform_filter("datum.layer !== null")
        .mark_line(style="curve")
        .encode(at, success, by_layer, detail="selection:N"),
        curves.transform_filter("datum.layer === null")
        .mark_line(style="curve-whole")
        .encode(at, success, detail="selection:N"),
        curves.mark_point(style="target").encode(at, success, tooltip=tooltip),
    )


def _temperatures() -> alt.LayerChart:
    """Draw success against the sampling temperature: the base, full training and the layers."""
    rates = alt.Chart(alt.NamedData("temperatures"))
    at = alt.X(
        "temperature:Q",
        title="temperature (0 is greedy)",
        axis=alt.Axis(grid=False, tickCount=5),
        scale=_TIGHT,
    )
    success = alt.Y("success:Q", title=None, scale=alt.Scale(zero=True))
    by_layer = alt.Color("layer:Q", title="layer", legend=alt.Legend(orient="top", tickMinStep=1))
    tooltip = [
        alt.Tooltip("name:N", title="policy"),
        alt.Tooltip("temperature:Q", title="temperature"),
        alt.Tooltip("success:Q", title="success", format=".2f"),
    ]
    whole = rates.transform_filter("datum.layer === null")
    return _sized(
        rates.transform_filter("datum.layer !== null")
        .mark_line(style="curve")
        .encode(at, success, by_layer, detail="name:N"),
        whole.mark_line(style="curve-whole").encode(at, success, detail="name:N"),
        *_line_names(whole, at, success),
        rates.mark_point(style="target").encode(at, success, tooltip=tooltip),
    )


def _line_names(lines: alt.Chart, at: alt.X, value: alt.Y) -> list[alt.Chart]:
    """Write the names of lines behind their right ends, or above their left ones."""
    right, left = (
        lines.transform_filter(f"datum.named === '{side}'") for side in ("right", "left")
    )
    return [
        right.mark_text(style="reference-label", align="left", dx=6).encode(
            at, value, text="name:N"
        ),
        left.mark_text(style="reference-label", align="left", dx=8, dy=-8).encode(
            at, value, text="name:N"
        ),
    ]


def _divergence() -> alt.LayerChart:
    """Draw each selection's gain against its divergence from the base."""
    at = alt.X(
        "kl:Q",
        title="KL to the base (nats a decision)",
        scale=alt.Scale(zero=True),
        axis=alt.Axis(grid=False),
    )
    tooltip = [
        alt.Tooltip("name:N", title="selection"),
        alt.Tooltip("kl:Q", title="KL", format=".3f"),
        alt.Tooltip("words:N", title="gain, 95 %"),
    ]
    gain = alt.Y("gain:Q", title=None, scale=alt.Scale(zero=True, padding=16))
    return _named_points(
        alt.Chart(alt.NamedData("divergence")), at, gain, name="name:N", tooltip=tooltip
    )


def _movement() -> alt.LayerChart:
    """Draw each layer's relative movement against its value."""
    points = alt.Chart(alt.NamedData("layers")).transform_filter("isValid(datum.moved)")
    at = alt.X(
        "moved:Q",
        title="relative movement",
        scale=alt.Scale(zero=False, padding=16),
        axis=alt.Axis(grid=False, format=".3~g", tickCount=6),
    )
    value = alt.Y("value:Q", title=None, scale=alt.Scale(padding=16))
    tooltip = [
        alt.Tooltip("selection:N", title="layer"),
        alt.Tooltip("moved:Q", title="movement", format=".2g"),
        alt.Tooltip("words:N", title="95 %"),
    ]
    return _named_points(points, at, value, name="selection:N", tooltip=tooltip)


def _named_points(
    points: alt.Chart, at: alt.X, value: alt.Y, *, name: str, tooltip: list[alt.Tooltip]
) -> alt.LayerChart:
    """Draw points with their intervals, from ``low`` to ``high``, and their names beside them."""
    return _sized(
        points.mark_rule(style="interval").encode(at, alt.Y("low:Q", title=None), y2="high:Q"),
        points.mark_point(style="clear").encode(at, value, tooltip=tooltip),
        points.mark_text(style="point-label", align="left", dx=8).encode(at, value, text=name),
    )


def _correlations() -> alt.LayerChart:
    """Draw the rank correlation of every two tables."""
    pairs = alt.Chart(alt.NamedData("pairs"))
    across = alt.X("column:O", title=None, axis=alt.Axis(orient="top", labelAngle=0))
    down = alt.Y("row:O", title=None)
    rho = alt.Color(
        "rho:Q",
        title="rho",
        # The whole range of rho, not that of the data: a colour means the same on every page.
        scale=alt.Scale(domain=[-1, 1], domainMid=0, interpolate="rgb"),
        legend=alt.Legend(orient="right", gradientLength=140),
    )
    tooltip = [
        alt.Tooltip("row:O", title="table"),
        alt.Tooltip("column:O", title="table"),
        alt.Tooltip("words:N", title="rho, 95 %"),
    ]
    return _sized(
        pairs.transform_filter("isValid(datum.rho)")
        .mark_rect(style="pair")
        .encode(across, down, rho, tooltip=tooltip),
        pairs.mark_text(style="pair-label").encode(across, down, text="label:N"),
    )


_WHOLE = alt.Axis(tickMinStep=1, grid=False, labelOverlap=True, labelSeparation=8)
_TIGHT = alt.Scale(nice=False, padding=14)


def _sized(*layers: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(
        layer=list(layers),
        width="container",
        height=_HEIGHT,
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
    )
