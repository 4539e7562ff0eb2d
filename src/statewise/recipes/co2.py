"""Carbon dioxide at Mauna Loa, a week a step: fill in the weeks that are missing, with intervals.

Data: a CSV file with the columns date (weekly) and co2 (ppmv), empty where missing. A twelfth of the known weeks is hidden, half of
them in blocks of eight; the other weeks fit the model and say what the hidden ones were.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import statewise as sw
from statewise._core.seed import generator
from statewise.dissection.panels import Band, Line, Panel, Points
from statewise.recipes.finding import Finding, Score
from statewise.sequences.sequences import Sequences

WEEKS = 365.2425 / 7
MEASURE = "RMSE of hidden weeks, ppmv"
COVERED = "share of hidden weeks inside the 95 % interval"


def run(path: Path | None = None, quick: bool = False, seed: int = 0) -> Finding:
    """Fill hidden weeks in by the Kalman smoother of a trend, a season and a cycle of weeks, and by a straight line between neighbours."""
    years, y = _series(path, seed)
    rng = generator(seed)
    hidden = _hidden(y, rng)
    known = np.where(hidden, np.nan, y)
    season = np.column_stack([f(2 * np.pi * k * years) for k in (1, 2, 3) for f in (np.sin, np.cos)])
    seqs = Sequences.from_arrays([known], inputs=[season], season=1)
    model = sw.Structural(level=True, trend=True, cycle=(4.0, 60.0)).fit(seqs, max_iter=30 if quick else 300)
    filled = model.smooth(seqs)
    assert filled.value_mean is not None and filled.value_variance is not None
    mean, sd = filled.value_mean[:, 0], np.sqrt(filled.value_variance[:, 0])
    inside = np.abs(y - mean)[hidden] <= 1.96 * sd[hidden]
    line = np.interp(years, years[~np.isnan(known)], known[~np.isnan(known)])
    errors = {"structural": y - mean, "linear interpolation": y - line}
    scores = [Score(name, MEASURE, float(np.sqrt(np.mean(e[hidden] ** 2)))) for name, e in errors.items()]
    share = float(inside.mean())
    scores.append(Score("structural", COVERED, share, float(np.sqrt(share * (1 - share) / hidden.sum()))))
    return Finding(
        "Missing weeks of CO2 at Mauna Loa" if path else "A synthetic trend with a season and missing weeks",
        f"{len(y)} weeks, {int(np.isnan(y).sum())} of them missing in the data; {int(hidden.sum())} more hidden",
        tuple(scores),
        (
            "A trend whose slope drifts and waves of the year know nearly all of this series; a cycle of some weeks is what is left of the weather.",
            "The smoother reads both sides of a gap, so that its interval is widest in the middle of a block, and says how wide.",
            f"That cycle fades by the factor {_damping(model):.3f} a week: further away the neighbours say no more than the season.",
        ),
        (_panel(years, y, mean, sd, hidden),),
        (COVERED, "above", 0.90) if path else None,
    )


def _series(path: Path | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Times in years and values."""
    if path is not None:
        seqs = sw.read(path, values=["co2"], time="date")
        days = (seqs.times - seqs.times[0]) / np.timedelta64(1, "D")  # type: ignore[index]  # a column of dates was asked for
        return 7 / 365.2425 + days / 365.2425, np.array(seqs.values[:, 0])
    rng = generator(seed + 1)
    t = np.arange(300) / WEEKS
    drift = np.cumsum(0.15 * rng.standard_normal(300))
    y = 315 + 1.3 * t + drift + 3 * np.sin(2 * np.pi * t) + 0.3 * rng.standard_normal(300)
    y[rng.choice(300, 10, replace=False)] = np.nan
    return t, y


def _hidden(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A twelfth of the known entries, half of them single, half in blocks of eight."""
    known = np.flatnonzero(~np.isnan(y))
    count = len(known) // 24
    hidden = np.zeros(len(y), bool)
    hidden[rng.choice(known[1:-1], count, replace=False)] = True
    for start in rng.choice(np.arange(8, len(y) - 16), max(1, count // 8), replace=False):
        hidden[start : start + 8] = True
    return hidden & ~np.isnan(y)


def _damping(model: sw.Structural) -> float:
    assert model.cycle_damping is not None
    return float(model.cycle_damping[0])


def _panel(years: np.ndarray, y: np.ndarray, mean: np.ndarray, sd: np.ndarray, hidden: np.ndarray) -> Panel:
    """The longest hidden stretch and a year around it."""
    first = int(np.argmax(np.convolve(hidden, np.ones(8), "valid")))
    shown = slice(max(0, first - 40), first + 48)
    t, m, s, at = years[shown], mean[shown], sd[shown], hidden[shown]
    return Panel(
        "Hidden weeks, filled in",
        "years since the beginning",
        "CO2, ppmv",
        (
            Band(t, m - 1.96 * s, m + 1.96 * s, "95 % interval"),
            Line(t, m, "smoothed"),
            Points(t[~at], y[shown][~at], "known"),
            Points(t[at], y[shown][at], "hidden"),
        ),
    )
