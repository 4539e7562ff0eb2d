"""The hidden states of a model that has some: the series with the decoded path as bands, the smoothed probabilities, and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.models.base import HasDiscreteStates, Model
from statewise.report import figures, series, twins
from statewise.report.figures import Panel, Trace
from statewise.report.numbers import decimals, fixed, percent
from statewise.report.twins import Table
from statewise.sequences.sequences import Sequences

MAX_CHOICES = 8
MAX_BANDS = (
    600  # stretches of one sequence that are drawn as they are; above that equal pieces take their commonest state
)
COLOURS = 8  # in the style sheet; with more states they begin again


@dataclass(frozen=True)
class States:
    """What the model says of its states along the data: the decoded `path` (rows,) and the smoothed `probs` (rows, K)."""

    seqs: Sequences
    path: np.ndarray
    probs: np.ndarray

    @classmethod
    def of(cls, model: Model, seqs: Sequences) -> States | None:
        """None for a model without discrete states."""
        if not isinstance(model, HasDiscreteStates):
            return None
        return cls(seqs, model.decode(seqs).path, model.smooth(seqs).probs)

    @property
    def count(self) -> int:
        return self.probs.shape[1]

    def stretches(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """First steps of the stretches in one state of sequence `index`, and those states."""
        path = self.path[self.seqs.offsets[index] : self.seqs.offsets[index + 1]]
        first = np.flatnonzero(np.diff(path, prepend=-1))
        return first, path[first]


def part(states: States) -> dict[str, Any]:
    """What the template needs: remarks, legend, panels, tables."""
    seqs, shown = states.seqs, min(len(states.seqs), MAX_CHOICES)
    panels = [_series_panel(states, k, shown) for k in range(min(seqs.dim, series.MAX_COLUMNS))]
    panels.append(_probability_panel(states, shown))
    remarks = [
        "Bands: the most probable path of states (Viterbi). Below: the probability of each state given all of the data (smoothed)."
    ]
    if shown < len(seqs):
        remarks.append(f"{shown} of {len(seqs):,} sequences can be chosen here.")
    if any(len(states.stretches(i)[0]) > MAX_BANDS for i in range(shown)):
        remarks.append(
            f"Where there are more than {MAX_BANDS} stretches, bands show the commonest state of equal pieces."
        )
    return {
        "remarks": remarks,
        "legend": [("line", "the data"), *((f"state-{k % COLOURS}", f"state {k}") for k in range(states.count))],
        "drawn": panels,
        "sequences": [(f"s{i}", str(seqs.ids[i])) for i in range(shown)],
        "first_sequence": "s0",
        "tables": [state_table(states), stretch_table(states)],
    }


def state_table(states: States) -> Table:
    """One row a state: its share of the steps, its stretches, and each column's mean and deviation in it."""
    seqs, dim = states.seqs, min(states.seqs.dim, series.MAX_COLUMNS)
    runs = np.concatenate([states.stretches(i)[1] for i in range(len(seqs))])
    rows = []
    for k in range(states.count):
        weights, number = states.probs[:, k], int((runs == k).sum())
        length = fixed(float((states.path == k).sum()) / number, 1) if number else "–"
        cells = [f"state {k}", f"{percent(100 * float(weights.mean()))} %", f"{number}", length]
        for d in range(dim):
            known = ~np.isnan(seqs.values[:, d])
            total, y = weights[known].sum(), seqs.values[known, d]
            mean = float(weights[known] @ y / total) if total > 0 else np.nan
            spread = float(np.sqrt(weights[known] @ (y - mean) ** 2 / total)) if total > 0 else np.nan
            cells += [fixed(mean, decimals(y)), fixed(spread, decimals(y))]
        rows.append(cells)
    heads = [head for name in seqs.columns[:dim] for head in (f"mean of {name}", f"sd of {name}")]
    caption = "The states in numbers"
    note = "Shares, means and deviations are weighted by the smoothed probabilities; stretches are those of the decoded path."
    return Table(caption, ["state", "share of steps", "stretches", "mean length", *heads], rows, note=note)


def stretch_table(states: States) -> Table:
    """The decoded path stretch by stretch."""
    seqs, rows = states.seqs, []
    for i in range(min(len(seqs), series.MAX_SEQUENCES)):
        first, state = states.stretches(i)
        when, last = series.texts(seqs, series.axis(seqs, i)), np.append(first[1:], seqs.lengths[i]) - 1
        probs = states.probs[seqs.offsets[i] : seqs.offsets[i + 1]]
        for a, b, k in zip(first.tolist(), last.tolist(), state.tolist(), strict=True):
            certainty = fixed(float(probs[a : b + 1, k].mean()), 2)
            rows.append([*twins.named(seqs, i), when[a], when[b], f"state {k}", f"{b + 1 - a}", certainty])
    head = [*twins.id_heading(seqs), "from", "to", "state", "steps", "mean probability"]
    return twins.capped(Table("The decoded path in stretches", head, rows, 3 + len(twins.id_heading(seqs))))


def _series_panel(states: States, k: int, shown: int) -> Panel:
    """One column of each sequence, in front of the bands of its path."""
    seqs = states.seqs
    name, places = seqs.columns[k], decimals(seqs.values[:, k])
    known = seqs.values[: seqs.offsets[shown], k]
    low, high = (float(np.nanmin(known)), float(np.nanmax(known))) if np.isfinite(known).any() else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    traces = {
        f"s{i}": [
            *_bands(states, i, ends),
            *figures.line(series.axis(seqs, i), seqs.arrays()[i][:, k], "@ink", places, ""),
        ]
        for i in range(shown)
    }
    label = f"Line chart of {name} over {series.axis_name(seqs)}, banded by decoded state; the table below has the stretches."
    return Panel(name, label, traces, figures.axes(seqs, places) | {"yaxis": {"range": list(ends)}})


def _bands(states: States, index: int, ends: tuple[float, float]) -> list[Trace]:
    """For each state one area of rectangles, each from half a step before its stretch to half a step after it."""
    x = series.axis(states.seqs, index)
    first, state = states.stretches(index)
    if len(first) > MAX_BANDS:
        first = np.linspace(0, len(x), MAX_BANDS + 1).astype(int)[:-1]
        path = states.path[states.seqs.offsets[index] :][: len(x)]
        state = np.array([np.bincount(piece).argmax() for piece in np.split(path, first[1:])])
    edges = _edges(x)
    left, right = edges[first], edges[np.append(first[1:], len(x))]
    found = []
    for k in np.unique(state).tolist():
        along: list[Any] = []
        up: list[float | None] = []
        for a, b in zip(series.as_json(left[state == k]), series.as_json(right[state == k]), strict=True):
            along += [a, a, b, b, a, None]
            up += [ends[0], ends[1], ends[1], ends[0], ends[0], None]
        colour = f"@state-{k % COLOURS}"
        area: Trace = {"type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip", "opacity": 0.3}
        found.append(area | {"x": along, "y": up, "fillcolor": colour, "line": {"width": 0, "color": colour}})
    return found


def _edges(x: np.ndarray) -> np.ndarray:
    """(rows + 1,) places half-way between neighbours, and as far beyond both ends."""
    if len(x) == 1:
        half = np.timedelta64(12, "h") if np.issubdtype(x.dtype, np.datetime64) else 0.5
        return np.array([x[0] - half, x[0] + half])
    x = x.astype("datetime64[s]") if np.issubdtype(x.dtype, np.datetime64) else x.astype(float)
    middle = x[:-1] + (x[1:] - x[:-1]) / 2
    return np.concatenate([[x[0] - (middle[0] - x[0])], middle, [x[-1] + (x[-1] - middle[-1])]])


def _probability_panel(states: States, shown: int) -> Panel:
    """The smoothed probabilities, one on top of the other, so that they fill the height."""
    seqs = states.seqs
    traces: dict[str, list[Trace]] = {}
    for i in range(shown):
        probs = states.probs[seqs.offsets[i] : seqs.offsets[i + 1]]
        kept = np.unique(np.linspace(0, len(probs) - 1, min(len(probs), series.MAX_POINTS // 2)).astype(int))
        x = series.as_json(series.axis(seqs, i)[kept])
        traces[f"s{i}"] = [
            {
                "type": "scatter",
                "mode": "lines",
                "stackgroup": "states",
                "x": x,
                "y": series.rounded(probs[kept, k], 2),
                "fillcolor": f"@state-{k % COLOURS}",
                "opacity": 0.8,
                "line": {"width": 0, "color": f"@state-{k % COLOURS}"},
                "hovertemplate": f"%{{x}}<br>state {k}: %{{y:.3f}}<extra></extra>",
            }
            for k in range(states.count)
        ]
    layout = figures.axes(seqs, 2) | {"yaxis": {"range": [0, 1], "title": {"text": "probability"}}}
    label = f"Smoothed probabilities of the {states.count} states over {series.axis_name(seqs)}, stacked to one."
    return Panel("Probability of each state", label, traces, layout)


def spoken(states: States) -> list[str]:
    """The states in sentences, for the plain text."""
    table = state_table(states)
    found = []
    for name, share, number, length, *moments in table.rows:
        columns = zip(states.seqs.columns, moments[::2], moments[1::2], strict=False)
        levels = "; ".join(f"{column} {mean} ± {sd}" for column, mean, sd in columns)
        lasts = f", {number} stretches of {length} steps on average" if number != "0" else ", never on the decoded path"
        found.append(f"{name}: {share} of the steps{lasts}; {levels}")
    return found
