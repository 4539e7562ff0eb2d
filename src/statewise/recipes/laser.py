"""A chaotic far-infrared laser, set A of the Santa Fe competition: one step ahead.

Data: a CSV file with the column intensity (0 to 255). The first 1000 steps fit, the others test. Source of the task: Weigend & Gershenfeld
(1994), *Time Series Prediction*.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import statewise as sw
from statewise.dissection.panels import Line, Panel
from statewise.recipes.finding import Finding, Score
from statewise.results.predicted import Predicted

TRAIN = 1000
MEASURE = "one-step NMSE"


def run(path: Path | None = None, quick: bool = False, seed: int = 0) -> Finding:
    """AR(25) by least squares, and a GRU whose state is carried through the series; errors over the variance of the test part."""
    y = _intensity(path, seed)
    past = y[:TRAIN]
    linear = sw.VARMA(p=25).fit(past)
    network = sw.Recurrent(cell="gru", hidden=32 if not quick else 8).fit(
        past, epochs=1 if quick else 600, lr=0.01, window=100, patience=100, seed=seed
    )
    ahead = {"AR(25)": linear.predict(y), "GRU": network.predict(y)}
    errors = {name: y[TRAIN:] - found.mean[TRAIN:, 0] for name, found in ahead.items()}
    variance = y[TRAIN:].var()
    scores = [
        Score(name, MEASURE, float((e**2).mean() / variance), _error(e**2 / variance)) for name, e in errors.items()
    ]
    memory = network.memory(y[TRAIN:])
    gain = 100 * (1 - scores[1].value / scores[0].value)
    return Finding(
        "The Santa Fe laser, a step ahead" if path else "A synthetic chaotic series, a step ahead",
        f"{TRAIN} steps to fit, {len(y) - TRAIN} to test",
        tuple(scores),
        (
            "Linear regression on 25 lags knows the oscillation, and misses where it collapses: that is not linear.",
            f"Recurrence took {gain:.0f} % of its squared error away.",
            f"A difference in the network's state changes by the factor {memory.rate:.3f} a step while the series is held.",
        ),
        (_panel(y, ahead),),
        (MEASURE, "below", 0.03) if path else None,
    )


def _intensity(path: Path | None, seed: int) -> np.ndarray:
    if path is not None:
        return np.array(sw.read(path, values=["intensity"]).values[:, 0])
    x = np.empty(TRAIN + 400)
    x[0] = 0.1 + 0.01 * (seed % 50)
    for t in range(1, len(x)):
        x[t] = 3.9 * x[t - 1] * (1 - x[t - 1])  # the logistic map, whose linear correlations are nearly nought
    return np.round(255 * x)


def _error(squares: np.ndarray) -> float:
    """Standard error of a mean of autocorrelated numbers, from blocks of a hundred."""
    blocks = squares[: len(squares) // 100 * 100].reshape(-1, 100).mean(axis=1)
    return float(blocks.std(ddof=1) / np.sqrt(len(blocks)))


def _panel(y: np.ndarray, ahead: dict[str, Predicted]) -> Panel:
    shown = slice(TRAIN, TRAIN + 150)
    steps = np.arange(TRAIN, TRAIN + 150)
    lines = [Line(steps, found.mean[shown, 0], f"{name}, a step ahead", dashed=True) for name, found in ahead.items()]
    return Panel("The first test steps", "step", "intensity", (Line(steps, y[shown], "measured"), *lines))
