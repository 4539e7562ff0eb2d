"""The registry of models that the contract suite runs: one line a model, with data that it can be fitted to in a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

import statewise as sw


@dataclass(frozen=True)
class Case:
    """A model with options for a quick fit.

    `scale_tolerance`: how far, in nats per step, a refit on rescaled data may end from the Jacobian's prediction (iterative fits stop
    at slightly different points). `forecast_noise`: relative Monte Carlo error of the forecast's mean, 0 for exact forecasts.
    """

    name: str
    make: Callable[[], Any]
    fit_options: dict[str, Any] = field(default_factory=dict)
    dim: int = 1
    scale_tolerance: float = 1e-6
    forecast_noise: float = 0.0


CASES = (
    Case("naive", lambda: sw.Naive()),
    Case("seasonal-naive", lambda: sw.Naive(season=4)),
    Case("ar", lambda: sw.VARMA(p=2)),
    Case("arma", lambda: sw.VARMA(p=1, q=1), {"restarts": 0}),
    Case("varma-2", lambda: sw.VARMA(p=1, q=1), {"restarts": 0}, dim=2),
    Case("local-level", lambda: sw.Structural()),
    Case("trend-season", lambda: sw.Structural(trend=True, seasonal=4)),
    Case("structural-2", lambda: sw.Structural(), dim=2),
    Case("damped-trend", lambda: sw.Structural(trend="damped"), scale_tolerance=1e-5),
    Case("trigonometric", lambda: sw.Structural(seasonal=4, seasonal_form="trigonometric")),
    Case("cycle", lambda: sw.Structural(cycle=(5.0, 30.0)), scale_tolerance=1e-5),
    Case("arima", lambda: sw.ARIMA((1, 1, 1)), {"restarts": 0}),
    Case("seasonal-arima", lambda: sw.ARIMA((0, 1, 1), (0, 1, 1), period=4), {"restarts": 0}),
    Case("arima-2", lambda: sw.ARIMA((1, 0, 1)), {"restarts": 0}, dim=2),
    Case("hmm", lambda: sw.HMM(states=2), {"max_iter": 30, "restarts": 1}, scale_tolerance=1e-4),
    Case("hmm-full", lambda: sw.HMM(states=2, covariance="full"), {"max_iter": 30, "restarts": 1}, 2, 1e-4),
    Case(
        "hmm-t", lambda: sw.HMM(states=2, emission="student-t"), {"max_iter": 20, "restarts": 1}, scale_tolerance=1e-3
    ),
    Case(
        "hmm-mixture",
        lambda: sw.HMM(states=2, emission="gaussian-mixture"),
        {"max_iter": 20, "restarts": 1},
        2,
        1e-3,
    ),
    Case("hmm-ar", lambda: sw.HMM(states=2, emission="autoregressive"), {"max_iter": 20, "restarts": 1}, 2, 1e-3, 0.15),
    Case(
        "hmm-gamma", lambda: sw.HMM(states=2, emission="gamma"), {"max_iter": 20, "restarts": 1}, scale_tolerance=1e-3
    ),
    Case(
        "hmm-left-to-right",
        lambda: sw.HMM(states=3, transitions="left-to-right"),
        {"max_iter": 20, "restarts": 1},
        scale_tolerance=1e-3,
    ),
    Case("gru", lambda: sw.Recurrent(cell="gru", hidden=4), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("lstm", lambda: sw.Recurrent(cell="lstm", hidden=4), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("gru-t", lambda: sw.Recurrent(hidden=4, output="student-t"), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("gru-mixture", lambda: sw.Recurrent(hidden=4, output="mixture", components=2), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("gru-full", lambda: sw.Recurrent(hidden=4, covariance="full"), {"epochs": 5}, 2, 1e-2, 0.15),
    Case("diagonal", lambda: sw.Recurrent("diagonal", hidden=4), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("linear", lambda: sw.Recurrent("linear", hidden=4), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("gru-time-aware", lambda: sw.Recurrent(hidden=4, time_aware=True), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("started-gru", lambda: sw.Recurrent(hidden=4, start=sw.VARMA(p=1)), {"epochs": 5}, 1, 1e-2, 0.15),
    Case("started-hmm", lambda: sw.Recurrent(hidden=4, start=sw.HMM(states=2)), {"epochs": 5}, 1, 1e-2, 0.15),
    Case(
        "started-level-2",
        lambda: sw.Recurrent("lstm", hidden=4, start=sw.Structural(), classical="freeze"),
        {"epochs": 5},
        2,
        1e-2,
        0.15,
    ),
    Case("rnn-2", lambda: sw.Recurrent(cell="rnn", hidden=4), {"epochs": 5}, 2, 1e-2, 0.15),
)


def data(dim: int, steps: int = 80, seed: int = 1) -> sw.Sequences:
    """Two autocorrelated sequences of unequal length around a level of 50 with a standard deviation near 10."""
    rng = np.random.default_rng(seed)
    lengths = (steps, steps // 2)
    parts = []
    for length in lengths:
        y = np.zeros((length, dim))
        for t in range(1, length):
            y[t] = 0.8 * y[t - 1] + 6 * rng.standard_normal(dim)
        parts.append(50 + y)
    return sw.Sequences.from_arrays(parts)


@cache
def fitted(name: str) -> Any:
    """The case's model, fitted once for all tests that only read it."""
    case = next(case for case in CASES if case.name == name)
    return case.make().fit(data(case.dim), **case.fit_options)
