"""Data that the tests of the VARMA share."""

from __future__ import annotations

from functools import cache

import numpy as np

import statewise as sw


@cache
def growth() -> np.ndarray:
    """Quarterly growth of US GDP and consumption, (202, 2)."""
    macro = sw.datasets.load("us_macro")
    picked = [macro.columns.index(name) for name in ("realgdp", "realcons")]
    return np.diff(np.log(macro.values[:, picked]), axis=0)


@cache
def growth_model() -> sw.VARMA:
    return sw.VARMA(p=1, q=1).fit(growth())


def arma(T: int, phi: float = 0.7, theta: float = 0.4, seed: int = 0) -> np.ndarray:
    e = np.random.default_rng(seed).standard_normal(T + 100)
    y = np.zeros(T + 100)
    for t in range(1, T + 100):
        y[t] = phi * y[t - 1] + e[t] + theta * e[t - 1]
    return y[100:]
