"""Figures as plotly traces in plain dicts.

Colours are tokens such as ``@ink``: the page looks them up in its style sheet, so that one figure serves the light, the
dark and the printed page. No name from the data enters a figure except that of a sequence in a hover label, which
`label_text` disarms.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statewise.report import series
from statewise.report.numbers import decimals, unit
from statewise.report.pieces import Piece, before
from statewise.report.residuals import NORMAL_95, ResidualChecks
from statewise.sequences.sequences import Sequences

Trace = dict[str, Any]
LINE_COLOURS = ("@series-1", "@series-2", "@series-3", "@series-4")
MARKER_LIMIT = 120
MAX_QUANTILES = 400
HOVER_DATES = {"Y": "%Y", "M": "%b %Y", "D": "%d %b %Y", "s": "%d %b %Y %H:%M:%S", "us": "%d %b %Y %H:%M:%S.%f"}


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        heading: a name from the data or a short title; shown as HTML, not by plotly.
        label: a sentence that says what is drawn, for screen readers.
        traces: key -> traces. The page draws those under "" and under the keys that the reader has selected.
        layout: what differs from the page's common layout.
        wide: whether the panel takes the whole width of the page.
    """

    heading: str
    label: str
    traces: dict[str, list[Trace]]
    layout: dict[str, Any] = field(default_factory=dict)
    wide: bool = True


def label_text(name: object) -> str:
    """A name for a hover label: plotly reads a little HTML and %{…} there, so both become character references."""
    return html.escape(str(name), quote=False).replace("%", "&#37;").replace("{", "&#123;").replace("$", "&#36;")


def data_panels(seqs: Sequences) -> list[Panel]:
    """One panel a column, the first sequences as lines."""
    drawn = min(len(seqs), series.MAX_SEQUENCES)
    panels = []
    for k in range(min(seqs.dim, series.MAX_COLUMNS)):
        places = decimals(seqs.values[:, k])
        traces = []
        for i in range(drawn):
            values = seqs.arrays()[i][:, k]
            name = label_text(seqs.ids[i]) if len(seqs) > 1 else ""
            traces += line(series.axis(seqs, i), values, LINE_COLOURS[i] if drawn > 1 else "@ink", places, name)
        label = f"Line chart of {seqs.columns[k]} over {series.axis_name(seqs)}; the table below has its numbers."
        panels.append(Panel(seqs.columns[k], label, {"": traces}, axes(seqs, places)))
    return panels


def backtest_panels(seqs: Sequences, models: list[list[Piece]], sequences: list[int], context: int) -> list[Panel]:
    """One panel a column: the actual values and each window's forecast; keys ``s<i>`` and, by model, ``m<j>s<i>``."""
    every = [piece for pieces in models for piece in pieces]
    panels = []
    for k in range(min(seqs.dim, series.MAX_COLUMNS)):
        places = decimals(seqs.values[:, k])
        traces: dict[str, list[Trace]] = {}
        for i in sequences:
            for j, pieces in enumerate(models):
                fans = [_fan(piece, k, places) for piece in pieces if piece.index == i]
                traces[f"m{j}s{i}"] = [trace for fan in fans for trace in fan]
            x, values = before(seqs, every, i, context)
            traces[f"s{i}"] = line(x, values[:, k], "@ink", places, "")
        label = (
            f"Forecasts of {seqs.columns[k]} with intervals, and the actual values; the table below has the numbers."
        )
        panels.append(Panel(seqs.columns[k], label, traces, axes(seqs, places)))
    return panels


def future_panels(seqs: Sequences, pieces: list[Piece], sequences: list[int]) -> list[Panel]:
    """One panel a column: the end of the data and the forecast beyond it; keys ``s<i>``."""
    context = max(4 * max(piece.steps for piece in pieces), 3 * (seqs.season or 1), 40)
    panels = []
    for k in range(min(seqs.dim, series.MAX_COLUMNS)):
        places = decimals(seqs.values[:, k])
        traces: dict[str, list[Trace]] = {}
        for piece in pieces:
            if piece.index in sequences:
                x, values = before(seqs, pieces, piece.index, context)
                traces[f"s{piece.index}"] = _fan(piece, k, places) + line(x, values[:, k], "@ink", places, "")
        label = f"The end of {seqs.columns[k]} and its forecast with intervals; the table below has the numbers."
        panels.append(Panel(seqs.columns[k], label, traces, axes(seqs, places)))
    return panels


def residual_panels(seqs: Sequences, residuals: np.ndarray, checks: list[ResidualChecks]) -> list[list[Panel]]:
    """For each column three panels: over time, autocorrelation, quantiles against the normal law's."""
    found = []
    for check in checks:
        k = seqs.columns.index(check.column)
        found.append(
            [_residuals_over_time(seqs, residuals[:, k], check.column), _correlogram(check), _quantiles(check)]
        )
    return found


def _residuals_over_time(seqs: Sequences, residuals: np.ndarray, column: str) -> Panel:
    drawn = min(len(seqs), series.MAX_SEQUENCES)
    traces = []
    for i, values in enumerate(np.split(residuals, seqs.offsets[1:-1])[:drawn]):
        kept = series.scattered(values)
        name = f"{label_text(seqs.ids[i])}<br>" if len(seqs) > 1 else ""
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": series.as_json(series.axis(seqs, i)[kept]),
                "y": series.rounded(values[kept], 2),
                "marker": {"color": LINE_COLOURS[i] if drawn > 1 else "@series-1", "size": 3 if len(kept) > 500 else 5},
                "hovertemplate": f"%{{x}}<br>{name}%{{y:.2f}}<extra></extra>",
            }
        )
    return Panel(
        heading="Over time",
        label=f"Standardised residuals of {column} over {series.axis_name(seqs)}, with lines at 0 and ±1.96.",
        traces={"": traces},
        layout=axes(seqs, 2)
        | {"shapes": [_level(0.0, "@axis"), _level(NORMAL_95, "@bound"), _level(-NORMAL_95, "@bound")]},
        wide=False,
    )


def _correlogram(check: ResidualChecks) -> Panel:
    lags = np.arange(1, len(check.autocorrelation) + 1)
    heights = series.rounded(check.autocorrelation, 3)
    stems: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": [x for lag in lags.tolist() for x in (lag, lag, None)],
        "y": [y for height in heights for y in (0, height, None)],
        "line": {"color": "@series-1", "width": 2},
        "hoverinfo": "skip",
    }
    heads: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": lags.tolist(),
        "y": heights,
        "marker": {"color": "@series-1", "size": 6},
        "hovertemplate": "lag %{x}: %{y:.3f}<extra></extra>",
    }
    reach = max(1.15 * float(np.abs(check.autocorrelation).max()), 1.6 * check.bound)
    return Panel(
        heading="Autocorrelation",
        label=f"Autocorrelation of residuals of {check.column} at lags 1 to {len(lags)}, bounds ±{check.bound:.3f}.",
        traces={"": [stems, heads]},
        layout={
            "xaxis": {"title": {"text": "lag"}, "range": [0.3, len(lags) + 0.7], **_whole_numbers(len(lags))},
            "yaxis": {"range": [-reach, reach]},
            "shapes": [_level(0.0, "@axis"), _level(check.bound, "@bound"), _level(-check.bound, "@bound")],
        },
        wide=False,
    )


def _quantiles(check: ResidualChecks) -> Panel:
    kept = np.arange(check.n)
    if check.n > MAX_QUANTILES:  # all of both ends, every so many in the middle
        middle = np.linspace(50, check.n - 51, MAX_QUANTILES - 100).astype(int)
        kept = np.unique(np.concatenate([kept[:50], middle, kept[-50:]]))
    points: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": series.rounded(check.theoretical[kept], 1),
        "y": series.rounded(check.quantiles[kept], 1),
        "marker": {"color": "@series-1", "size": 5},
        "hovertemplate": "normal %{x:.2f}, residual %{y:.2f}<extra></extra>",
    }
    end = float(np.abs(check.theoretical[[0, -1]]).max()) * 1.08
    equal = {
        "type": "line",
        "x0": -end,
        "y0": -end,
        "x1": end,
        "y1": end,
        "layer": "below",
        "line": {"color": "@bound", "width": 1.5},
    }
    return Panel(
        heading="Against the normal law",
        label=f"Sorted residuals of {check.column} against standard normal quantiles, with the line of equality.",
        traces={"": [points]},
        layout={"xaxis": {"title": {"text": "standard normal quantile"}, "range": [-end, end]}, "shapes": [equal]},
        wide=False,
    )


def line(x: np.ndarray, values: np.ndarray, colour: str, places: int, name: str) -> list[Trace]:
    """A line with gaps where values are missing; markers where the series is short, and on lone values."""
    kept = series.thinned(values)
    short = len(kept) <= MARKER_LIMIT
    template = f"%{{x}}<br>{name + '<br>' if name else ''}%{{y:.{places}f}}<extra></extra>"
    line: Trace = {
        "type": "scatter",
        "mode": "lines+markers" if short else "lines",
        "x": series.as_json(x[kept]),
        "y": series.rounded(values[kept], places),
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "size": 4},
        "connectgaps": False,
        "hovertemplate": template,
    }
    alone = series.isolated(values) & np.isin(np.arange(values.size), kept)
    if short or not alone.any():
        return [line]
    dots = {"mode": "markers", "x": series.as_json(x[alone]), "y": series.rounded(values[alone], places)}
    return [line, line | dots]


def _fan(piece: Piece, k: int, places: int) -> list[Trace]:
    """Bands, widest first, and the mean of one column, tagged with the window's number."""
    along = series.as_json(piece.x)
    ends = {level: (lower[:, k], upper[:, k]) for level, (lower, upper) in piece.ends.items()}
    bands = [_band(along, *ends[level], places) for level in sorted(ends, reverse=True)]
    lines = "".join(
        f"<br>{level:g} %: %{{customdata[{2 * n}]:.{places}f}} to %{{customdata[{2 * n + 1}]:.{places}f}}"
        for n, level in enumerate(ends)
    )
    centre: Trace = {
        "type": "scatter",
        "mode": "lines+markers" if len(along) <= 3 else "lines",
        "x": along,
        "y": series.rounded(piece.mean[:, k], places),
        "line": {"color": "@forecast", "width": 2},
        "marker": {"color": "@forecast", "size": 6},
        "customdata": [
            series.rounded(np.array(step), places)
            for step in zip(*(end for pair in ends.values() for end in pair), strict=True)
        ],
        "hovertemplate": f"%{{x}}<br>forecast %{{y:.{places}f}}{lines}<extra></extra>",
    }
    tag = {} if piece.window is None else {"meta": {"window": piece.window}}
    return [trace | tag for trace in (*bands, centre)]


def _band(x: list[Any], lower: np.ndarray, upper: np.ndarray, places: int) -> Trace:
    """The area between two lines; a thick bar where there is one step only."""
    low, high = series.rounded(lower, places), series.rounded(upper, places)
    common: Trace = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    if len(x) == 1:
        return common | {"x": x * 2, "y": [low[0], high[0]], "line": {"color": "@band", "width": 9}}
    area = {"fill": "toself", "fillcolor": "@band", "line": {"width": 0, "color": "@band"}}
    return common | area | {"x": x + x[::-1], "y": low + high[::-1]}


def axes(seqs: Sequences, places: int) -> dict[str, Any]:
    """The x axis of a figure over time."""
    kind = series.axis_name(seqs)
    if seqs.times is not None and kind == "date":
        return {"xaxis": {"type": "date", "hoverformat": HOVER_DATES[unit(seqs.times)]}}
    longest = int(seqs.lengths.max())
    steps = {"tickformat": ",d", **_whole_numbers(longest)} if kind == "step" else {}
    return {"xaxis": {"type": "linear", "title": {"text": kind}, "hoverformat": ".10~g", **steps}}


def _whole_numbers(longest: int) -> dict[str, Any]:
    """Ticks at whole numbers only, where an axis is so short that plotly would place some between them."""
    return {"dtick": 1, "tick0": 0} if longest <= 8 else {}


def _level(y: float, colour: str) -> dict[str, Any]:
    """A horizontal line across a panel."""
    line = {"color": colour, "width": 1, "dash": "solid" if colour == "@axis" else "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below", "line": line}
