"""The declarative panels of a diagnostic as plotly traces in plain dicts, with the legend that the page shows beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statewise.dissection.panels import Band, Heatmap, Histogram, Layer, Line, Panel, Points, Rule
from statewise.report import series
from statewise.report.figures import Trace, label_text

LINES = ("@series-1", "@series-2", "@series-3", "@series-4")
DASHES = (("@bound", "bound"), ("@series-3", "dash-3"), ("@series-4", "dash-4"), ("@ink", "dash-ink"))
SCALE = tuple((k / 4, f"@heat-{k}") for k in range(5))
MOST_CELLS = 160  # of a heat map, along an axis
_DIGITS = 4


@dataclass
class Drawing:
    """What a converter has drawn so far of one panel.

    Attributes:
        traces: for plotly.
        shapes: lines across the panel.
        legend: (class of the swatch, text) of what has a name.
        lines, dashes: how many of each have been drawn; they choose the colour.
    """

    traces: list[Trace] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    lines: int = 0
    dashes: int = 0

    def named(self, swatch: str, name: str) -> None:
        if name:
            self.legend.append((swatch, name))


def drawing(panel: Panel) -> Drawing:
    """All layers of a panel, in their order."""
    made = Drawing()
    for layer in panel.layers:
        _DRAWN[type(layer)](made, layer, panel)
    return made


def layout(panel: Panel) -> dict[str, Any]:
    """Titles and kinds of the axes."""
    x: dict[str, Any] = {"title": {"text": label_text(panel.x)}}
    y: dict[str, Any] = {"title": {"text": label_text(panel.y)}}
    for axis, log, letter in ((x, panel.x_log, "x"), (y, panel.y_log, "y")):
        if log:
            axis |= {"type": "log", "exponentformat": "power", "hoverformat": ".3g"}
            if _decades(panel, letter) < 2.5:
                axis["dtick"] = "D2"  # labels at 1, 2 and 5, instead of small digits between
    if panel.square:
        y |= {"scaleanchor": "x", "scaleratio": 1}
    return {"xaxis": x, "yaxis": y}


def _decades(panel: Panel, letter: str) -> float:
    """How many powers of ten the layers span along an axis."""
    names = ("x", "edges") if letter == "x" else ("y", "low", "high", "counts")
    arrays = [np.ravel(getattr(layer, name)) for layer in panel.layers for name in names if hasattr(layer, name)]
    every = np.concatenate([np.asarray(each, dtype=float) for each in arrays]) if arrays else np.empty(0)
    every = every[np.isfinite(every) & (every > 0)]
    return float(np.log10(every.max() / every.min())) if every.size else 0.0


def numbers(values: Any) -> list[float | None]:
    """Numbers to four digits; what is not finite is a gap."""
    found = np.asarray(values, dtype=float).ravel()
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in found]


def _line(made: Drawing, layer: Line, panel: Panel) -> None:
    x, y = np.asarray(layer.x, dtype=float), np.asarray(layer.y, dtype=float)
    kept = series.thinned(np.where(np.isfinite(y), y, np.nan))
    if layer.dashed:
        colour, swatch = DASHES[made.dashes % len(DASHES)]
        made.dashes += 1
    else:
        k = made.lines % 4
        colour, swatch = LINES[k], f"series-{k + 1}"
        made.lines += 1
    made.traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(x[kept]),
            "y": numbers(y[kept]),
            "line": {"color": colour, "width": 1.5 if layer.dashed else 2, "dash": "dash" if layer.dashed else "solid"},
            "connectgaps": False,
            "hovertemplate": _hover(panel, layer.name),
        }
    )
    made.named(swatch, layer.name)


def _band(made: Drawing, layer: Band, panel: Panel) -> None:
    x, low, high = (np.asarray(part, dtype=float) for part in (layer.x, layer.low, layer.high))
    known = np.isfinite(low) & np.isfinite(high)
    if panel.y_log:
        known &= (low > 0) & (high > 0)
    along = np.concatenate([x[known], x[known][::-1]])
    around = np.concatenate([low[known], high[known][::-1]])
    made.traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(along),
            "y": numbers(around),
            "fill": "toself",
            "fillcolor": "@band",
            "line": {"width": 0, "color": "@band"},
            "hoverinfo": "skip",
        }
    )
    made.named("band", layer.name)


def _points(made: Drawing, layer: Points, panel: Panel) -> None:
    colour = LINES[made.lines % 4]
    made.named(f"dot series-{made.lines % 4 + 1}", layer.name)
    made.lines += 1
    x = np.asarray(layer.x, dtype=float)
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(x),
        "y": numbers(layer.y),
        "marker": {"color": colour, "size": 7 if x.size <= 100 else 4},
        "hovertemplate": _hover(panel, layer.name),
    }
    if layer.error is not None:
        trace["error_y"] = {
            "type": "data",
            "array": numbers(layer.error),
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        }
    if layer.texts:
        trace["text"] = [label_text(text) for text in layer.texts]
        trace["hovertemplate"] = "%{text}<extra></extra>"
    made.traces.append(trace)


def _histogram(made: Drawing, layer: Histogram, panel: Panel) -> None:
    k = made.lines % 4
    made.lines += 1
    edges = np.asarray(layer.edges, dtype=float)
    finite = np.isfinite(edges[:-1]) & np.isfinite(edges[1:])
    low, high, counts = edges[:-1][finite], edges[1:][finite], np.asarray(layer.counts, dtype=float)[finite]
    # One outline of steps, which stays right on a logarithmic axis, where bars would not.
    x, y = np.repeat(np.concatenate([low, high[-1:]]), 2), np.concatenate([[0.0], np.repeat(counts, 2), [0.0]])
    made.traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(x),
            "y": numbers(y),
            "fill": "tozeroy",
            "fillcolor": f"@fill-{k + 1}",
            "line": {"color": LINES[k], "width": 1.5},
            "hovertemplate": _hover(panel, layer.name),
        }
    )
    made.named(f"series-{k + 1}", layer.name)


def _heatmap(made: Drawing, layer: Heatmap, panel: Panel) -> None:
    rows, columns = (_kept(len(axis)) for axis in (layer.y, layer.x))
    values = np.asarray(layer.values, dtype=float)[np.ix_(rows, columns)]
    name = label_text(layer.name)
    made.traces.append(
        {
            "type": "heatmap",
            "x": numbers(np.asarray(layer.x)[columns]),
            "y": numbers(np.asarray(layer.y)[rows]),
            "z": [numbers(row) for row in values],
            **_shades(values),
            "colorscale": [list(stop) for stop in SCALE],
            "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": name, "side": "right"}},
            "hoverongaps": False,
            "hovertemplate": f"{label_text(panel.x)} %{{x}}<br>{label_text(panel.y)} %{{y}}<br>{name} %{{z:.3g}}<extra></extra>",
        }
    )


def _shades(values: np.ndarray) -> dict[str, float]:
    """From 0 to 1 for shares and gates; around the value where all are the same; else plotly's own choice."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {}
    low, high = float(known.min()), float(known.max())
    if low >= 0 and high <= 1:
        return {"zmin": 0.0, "zmax": 1.0}
    return {"zmin": low, "zmax": low + 1.0} if low == high else {}


def _kept(size: int) -> np.ndarray:
    """Positions of the rows or columns that are drawn: evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, min(size, MOST_CELLS)).round().astype(int))


def _rule(made: Drawing, layer: Rule, panel: Panel) -> None:
    if not np.isfinite(layer.at) or (layer.at <= 0 and (panel.x_log if layer.axis == "x" else panel.y_log)):
        return
    along, across = ("x", "y") if layer.axis == "x" else ("y", "x")
    ends = {f"{along}0": layer.at, f"{along}1": layer.at, f"{across}0": 0, f"{across}1": 1, f"{across}ref": "paper"}
    made.shapes.append(
        {"type": "line", **ends, "layer": "below", "line": {"color": "@axis", "width": 1.5, "dash": "dot"}}
    )
    made.named("rule", layer.name)


def _hover(panel: Panel, name: str) -> str:
    lead = f"{label_text(name)}<br>" if name else ""
    return f"{lead}{label_text(panel.x)} %{{x:.4g}}<br>{label_text(panel.y)} %{{y:.4g}}<extra></extra>"


_DRAWN: dict[type[Layer], Callable[[Drawing, Any, Panel], None]] = {
    Line: _line,
    Band: _band,
    Points: _points,
    Histogram: _histogram,
    Heatmap: _heatmap,
    Rule: _rule,
}
