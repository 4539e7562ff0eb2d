"""One model, one rolling-origin window: refit on the past, forecast, and score against what came."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise.kernels._jit import compilation_seconds
from statewise.models.base import Density, Trainable
from statewise.models.reading import Reading
from statewise.results.comparison import WindowForecast
from statewise.sequences.sequences import Sequences
from statewise.sequences.split import Window


@dataclass(frozen=True)
class WindowResult:
    """The model at the origin, its forecast with the actual values, and the seconds that its fit took, compilation left out."""

    model: Density
    forecast: WindowForecast
    fit_seconds: float


def run_window(
    model: Density,
    seqs: Sequences,
    window: Window,
    horizon: int,
    level: tuple[float, ...],
    refit: bool,
    fit_options: Mapping[str, Any],
    reading: Reading | None = None,
) -> WindowResult:
    """Fit an unfitted clone to the window's past only, forecast `horizon` steps, and score.

    The log score of the future is log p(past and future) − log p(past) step by step, which by the chain rule is the log density of
    the whole future path given the past; the future enters this scoring and nothing else. A model that carries a state reads the past once
    for both, and with ``refit=False`` the whole sequences once for all windows: `reading`.
    """
    begun, compiled = time.perf_counter(), compilation_seconds()
    if refit:
        model = fit_clone(model, window.past, fit_options)
    seconds = time.perf_counter() - begun - (compilation_seconds() - compiled)
    if refit or reading is None:
        reading = model.reading(_joined(seqs, window))
    inputs = _padded(window.future, horizon) if seqs.inputs is not None else None
    forecast = reading.forecast(window.future.ids, window.origins, horizon, level, inputs)
    actual = _padded_values(window.future, horizon)
    scores = _log_scores(reading, window, horizon)
    return WindowResult(model, WindowForecast(window.index, forecast, actual, window.origins, scores), seconds)


def fit_clone(model: Density, past: Sequences, fit_options: Mapping[str, Any]) -> Density:
    """An unfitted copy of `model`, fitted to `past` with those of the options that its `fit` knows."""
    fresh = model.clone()
    assert isinstance(fresh, Trainable)
    known = inspect.signature(fresh.fit).parameters
    return fresh.fit(past, **{name: value for name, value in fit_options.items() if name in known})


def _joined(seqs: Sequences, window: Window) -> Sequences:
    """The sequences that have a future, to its end."""
    spans = [(0, 0)] * len(seqs)
    for name, origin, length in zip(window.future.ids, window.origins, window.future.lengths, strict=True):
        spans[seqs.ids.index(name)] = (0, int(origin + length))
    return seqs.cut(spans)


def _log_scores(reading: Reading, window: Window, horizon: int) -> np.ndarray:
    """(N, horizon) log density of each future step given all steps before it; NaN where nothing was observed."""
    scores = np.full((len(window.future), horizon), np.nan)
    for i, (name, origin, length) in enumerate(
        zip(window.future.ids, window.origins, window.future.lengths, strict=True)
    ):
        begin = int(reading.seqs.offsets[reading.seqs.ids.index(name)] + origin)
        scores[i, :length] = reading.log_prob_steps[begin : begin + length]
    actual = _padded_values(window.future, horizon)
    return np.where(np.isnan(actual).all(axis=2), np.nan, scores)


def _padded_values(future: Sequences, horizon: int) -> np.ndarray:
    """(N, horizon, p) values, NaN after the end of a sequence."""
    table = np.full((len(future), horizon, future.dim), np.nan)
    for i, y in enumerate(future.arrays()):
        table[i, : len(y)] = y
    return table


def _padded(future: Sequences, horizon: int) -> np.ndarray:
    """(N, horizon, u) inputs, the last one repeated after the end of a sequence (those steps are not scored)."""
    assert future.inputs is not None
    table = np.empty((len(future), horizon, future.inputs.shape[1]))
    for i, u in enumerate(np.split(future.inputs, future.offsets[1:-1])):
        table[i, : len(u)] = u
        table[i, len(u) :] = u[-1]
    return table
