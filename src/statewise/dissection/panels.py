"""Pictures as plain data, so that one description serves matplotlib and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """y against x; NaN breaks it. `dashed` is for a reference, such as a fit or a bound."""

    x: np.ndarray
    y: np.ndarray
    name: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """What lies between `low` and `high` over x."""

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    name: str = ""


@dataclass(frozen=True)
class Points:
    """Markers at (x, y), with error bars where `error` (the half width) is given, and a text each for the reader who hovers."""

    x: np.ndarray
    y: np.ndarray
    name: str = ""
    error: np.ndarray | None = None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Histogram:
    """Counts between the edges (counts + 1 of them)."""

    edges: np.ndarray
    counts: np.ndarray
    name: str = ""


@dataclass(frozen=True)
class Heatmap:
    """values (rows, columns) over `y` (rows,) and `x` (columns,); NaN is left blank."""

    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    name: str = ""


@dataclass(frozen=True)
class Rule:
    """A straight line across the panel at x or at y = `at`, such as the task's length."""

    at: float
    axis: Literal["x", "y"]
    name: str = ""


Layer = Line | Band | Points | Histogram | Heatmap | Rule


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        title: a few words.
        x, y: what the axes show, with the unit.
        layers: drawn in this order.
        x_log, y_log: logarithmic axes.
        square: one unit is as long on both axes, as for a circle.
    """

    title: str
    x: str
    y: str
    layers: tuple[Layer, ...]
    x_log: bool = False
    y_log: bool = False
    square: bool = False


def draw(axis: Axes, panel: Panel) -> None:
    """The panel on a matplotlib axis."""
    for layer in panel.layers:
        _DRAWN[type(layer)](axis, layer)
    axis.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    if panel.x_log:
        axis.set_xscale("log")
    if panel.y_log:
        axis.set_yscale("log")
    if panel.square:
        axis.set_aspect("equal")
    if any(layer.name for layer in panel.layers if not isinstance(layer, Heatmap)):
        axis.legend(fontsize="small")


def _line(axis: Axes, layer: Line) -> None:
    axis.plot(layer.x, layer.y, "--" if layer.dashed else "-", label=layer.name or None)


def _band(axis: Axes, layer: Band) -> None:
    axis.fill_between(layer.x, layer.low, layer.high, alpha=0.25, linewidth=0, label=layer.name or None)


def _points(axis: Axes, layer: Points) -> None:
    axis.errorbar(layer.x, layer.y, yerr=layer.error, fmt="o", markersize=4, label=layer.name or None)


def _histogram(axis: Axes, layer: Histogram) -> None:
    axis.stairs(layer.counts, layer.edges, fill=True, alpha=0.7, label=layer.name or None)


def _heatmap(axis: Axes, layer: Heatmap) -> None:
    drawn = axis.pcolormesh(layer.x, layer.y, np.ma.masked_invalid(layer.values), shading="nearest")
    axis.figure.colorbar(drawn, ax=axis, label=layer.name)


def _rule(axis: Axes, layer: Rule) -> None:
    across = axis.axvline if layer.axis == "x" else axis.axhline
    across(layer.at, color="0.5", linestyle=":", label=layer.name or None)


_DRAWN: Mapping[type, Any] = {
    Line: _line,
    Band: _band,
    Points: _points,
    Histogram: _histogram,
    Heatmap: _heatmap,
    Rule: _rule,
}
