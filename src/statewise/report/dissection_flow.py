"""The first figure of a dissection's report: the gradient-flow matrix, and the curve by lag of all steps or of the one selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.panels import Line, Panel
from statewise.report.panels import numbers
from statewise.report.twins import Table

_MOST_ROWS = 64  # that can be selected
_TABLE_LAGS = 40
_LOWEST = 1e-12  # times the largest; what is smaller leaves the picture


@dataclass
class Flow:
    """Rows of panels with the traces of what can be selected by key, the choices, and the numbers as tables."""

    rows: list[list[Panel]]
    selected: list[list[dict[str, Any]]]
    choices: list[tuple[str, str]]
    tables: list[Table]


def flow_part(letters: list[str], flows: list[Diagnostic], halves: list[Diagnostic], spectra: list[Diagnostic]) -> Flow:
    """From the diagnostics of one dissection or of two, those that were refused left out."""
    there = [k for k, flow in enumerate(flows) if flow.status is not Status.REFUSED]
    if not there:
        return Flow([], [], [], [])
    steps = sorted({step for k in there for step in _selectable(flows[k])})
    kept = [
        steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _MOST_ROWS)).round().astype(int))
    ]
    matrices = [flows[k].panels[0] for k in there]
    curves = [_curve_panel(flows[k], halves[k], spectra[k]) for k in there]
    marks = [_matrix_marks(flows[k], kept) | {"reversed": True} for k in there]
    lines = [_row_curves(flows[k], kept) for k in there]
    choices = [("all", "all steps"), *((f"r{step}", f"step {step}") for step in reversed(kept))]
    tables = [_table(letters[k], flows[k]) for k in there]
    if len(there) == 1:
        return Flow([[matrices[0], curves[0]]], [[marks[0], lines[0]]], choices, tables)
    return Flow([matrices, curves], [list(marks), list(lines)], choices, tables)


def _selectable(flow: Diagnostic) -> list[int]:
    """Steps whose loss sends a gradient back."""
    G, first = np.asarray(flow.value, dtype=float), int(flow.data["first_step"])
    return [first + i for i in range(len(G)) if i > 0 and np.isfinite(G[i, : i + 1]).any()]


def _curve_panel(flow: Diagnostic, half: Diagnostic, spectrum: Diagnostic) -> Panel:
    """The curve by lag with its band, the fitted decay and the slope of λ₁."""
    panel = flow.panels[1]
    curve = np.asarray(flow.data["curve"], dtype=float)
    lags = np.arange(len(curve), dtype=float)
    known = curve[np.isfinite(curve) & (curve > 0)]
    floor = _LOWEST * float(known.max()) if known.size else 0.0
    lines = []
    if half.status is not Status.REFUSED:
        first, last, slope = (half.data[name] for name in ("first_lag", "last_lag", "slope"))
        fitted = lags[int(first) : int(last) + 1]
        level = float(np.mean(np.log(np.maximum(half.data["curve"][int(first) : int(last) + 1], 1e-300))))
        lines.append(Line(fitted, np.exp(level + slope * (fitted - fitted.mean())), "fitted decay", dashed=True))
    rate = _rate(flow, half, spectrum)
    if rate is not None:
        decay = np.exp(np.clip(rate * lags, -700, 700))
        lines.append(
            Line(lags, np.where((decay > floor) & (decay < 1e12), decay, np.nan), "the slope of λ₁", dashed=True)
        )
    layers = tuple(_above(layer, floor) for layer in panel.layers)
    return Panel(panel.title, panel.x, panel.y, (*layers, *lines), y_log=True)


def _rate(flow: Diagnostic, half: Diagnostic, spectrum: Diagnostic) -> float | None:
    """λ₁ in nats a step; exponents are per unit of time, of which the half-life and its slope tell the length of a step."""
    if spectrum.status is Status.REFUSED or not np.isfinite(np.atleast_1d(spectrum.value)[0]):
        return None
    top = float(np.atleast_1d(spectrum.value)[0])
    if half.status is Status.REFUSED or not np.isfinite(half.value) or not half.data["slope"] < 0:
        return top
    return top * float(half.value) * -float(half.data["slope"]) / float(np.log(2))


def _above(layer: Any, floor: float) -> Any:
    """A line or band without what lies below the floor, so that the axis shows what matters."""
    if isinstance(layer, Line):
        y = np.asarray(layer.y, dtype=float)
        return Line(layer.x, np.where(y > floor, y, np.nan), layer.name, layer.dashed)
    low, high = np.asarray(layer.low, dtype=float), np.asarray(layer.high, dtype=float)
    return type(layer)(
        layer.x,
        np.where(high > floor, np.maximum(low, floor), np.nan),
        np.where(high > floor, high, np.nan),
        layer.name,
    )


def _matrix_marks(flow: Diagnostic, steps: list[int]) -> dict[str, Any]:
    """A frame around the selected row."""
    first, width = int(flow.data["first_step"]), len(flow.value)
    marks = {}
    for step in steps:
        if first <= step < first + width:
            marks[f"r{step}"] = [
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [first - 0.5, step + 0.5, step + 0.5, first - 0.5, first - 0.5],
                    "y": [step - 0.5, step - 0.5, step + 0.5, step + 0.5, step - 0.5],
                    "line": {"color": "@bound", "width": 2},
                    "hoverinfo": "skip",
                }
            ]
    return marks


def _row_curves(flow: Diagnostic, steps: list[int]) -> dict[str, Any]:
    """G[t, t−k] / G[t, t] of each step t that can be selected."""
    first = int(flow.data["first_step"])
    G = np.asarray(flow.value, dtype=float)
    found = {}
    for step in steps:
        i = step - first
        if 0 <= i < len(G) and G[i, i] > 0:
            curve = G[i, i::-1] / G[i, i]
            curve = np.where(curve > _LOWEST, curve, np.nan)
            found[f"r{step}"] = [
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": list(range(len(curve))),
                    "y": numbers(curve),
                    "line": {"color": "@bound", "width": 2},
                    "marker": {"color": "@bound", "size": 4},
                    "hovertemplate": f"loss of step {step}<br>lag %{{x}}: %{{y:.3g}}<extra></extra>",
                }
            ]
    return found


def _table(letter: str, flow: Diagnostic) -> Table:
    curve, low, high = (np.asarray(flow.data[name], dtype=float) for name in ("curve", "low", "high"))
    known = np.flatnonzero(np.isfinite(curve))
    kept = (
        known[np.unique(np.linspace(0, len(known) - 1, min(len(known), _TABLE_LAGS)).round().astype(int))]
        if known.size
        else []
    )
    rows = [[str(k), *(f"{values[k]:.3g}" for values in (curve, low, high))] for k in kept]
    of = f" of {letter}" if letter else ""
    return Table(f"Gradient by lag{of}", ["lag", "geometric mean", "10 %", "90 %"], rows, 1)
