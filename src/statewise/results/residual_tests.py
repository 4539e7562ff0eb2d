"""Statistics of standardised one-step residuals, which are independent standard normal numbers if the model is right."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.special import chdtrc


def autocorrelation(residuals: np.ndarray, lengths: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """r[k] = Σ e[t] e[t+k] / Σ e[t]² for k = 1 … lags, with the pooled mean removed, and the pairs at each lag.

    Only pairs inside one sequence count, and a pair with a missing member counts as zero (Parzen 1963). Returns two
    (lags,) arrays.
    """
    known = np.isfinite(residuals)
    e = np.where(known, residuals - residuals[known].mean(), 0.0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    products, pairs = np.zeros(lags), np.zeros(lags)
    for start, stop in itertools.pairwise(offsets):
        part, have = e[start:stop], known[start:stop]
        for k in range(1, min(lags, stop - start - 1) + 1):
            products[k - 1] += part[:-k] @ part[k:]
            pairs[k - 1] += np.count_nonzero(have[:-k] & have[k:])
    return products / (e @ e), pairs


def ljung_box(acf: np.ndarray, pairs: np.ndarray, n: int, freedom: int | None = None) -> tuple[float, float]:
    """(Q, p): Q = n(n + 2) Σ r[k]²/pairs[k] against χ² with one degree of freedom a lag.

    `pairs` is n − k for one complete sequence; lags without pairs do not count. `freedom` replaces the degrees of freedom, to lower them for
    estimated parameters; without any left p is NaN. Source: Ljung & Box 1978, eq. 1.3.
    """
    used = pairs > 0
    statistic = float(n * (n + 2) * np.sum(acf[used] ** 2 / pairs[used]))
    freedom = int(used.sum()) if freedom is None else freedom
    return statistic, float(chdtrc(freedom, statistic)) if freedom > 0 else math.nan


def standardised_moments(e: np.ndarray) -> tuple[float, float]:
    """Skewness and excess kurtosis, 0 and 0 for the normal law."""
    centred = e - e.mean()
    scale = math.sqrt(float(np.mean(centred**2)))
    return float(np.mean(centred**3)) / scale**3, float(np.mean(centred**4)) / scale**4 - 3


def jarque_bera(skewness: float, excess: float, n: int) -> tuple[float, float]:
    """(JB, p): n/6 (skewness² + excess²/4) against χ²₂ (Jarque & Bera, Economics Letters 6 (1980))."""
    statistic = n / 6 * (skewness**2 + excess**2 / 4)
    return statistic, float(chdtrc(2, statistic))
