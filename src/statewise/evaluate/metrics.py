"""Scores of forecasts against what came, and the test of whether two scores differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from statewise.results.forecast import Forecast
from statewise.sequences.sequences import Sequences


def crps(forecast: Forecast, actual: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of every entry, in the data's unit; NaN where the actual value is missing."""
    return forecast.marginals.crps(actual)


def covered(forecast: Forecast, actual: np.ndarray, level: float) -> np.ndarray:
    """1 where the actual value lies in the central interval of `level` per cent, 0 where not, NaN where it is missing."""
    lower, upper = forecast.interval(level)
    inside = ((actual >= lower) & (actual <= upper)).astype(float)
    return np.where(np.isnan(actual), np.nan, inside)


def mase_scale(past: Sequences, season: int) -> np.ndarray:
    """(N, p) mean absolute seasonal difference of each past sequence, the unit of MASE; NaN where there is none.

    Source: Hyndman & Koehler, International Journal of Forecasting 22 (2006), 679–688.
    """
    scales = np.full((len(past), past.dim), np.nan)
    for i, y in enumerate(past.arrays()):
        gaps = np.abs(y[season:] - y[:-season])
        seen = ~np.isnan(gaps)
        counts = seen.sum(axis=0)
        sums = np.where(seen, gaps, 0.0).sum(axis=0)
        scales[i] = np.where((counts > 0) & (sums > 0), sums / np.maximum(counts, 1), np.nan)
    return scales


@dataclass(frozen=True)
class Difference:
    """Mean difference of two score series, its autocorrelation-robust standard error, and the two-sided p-value of no difference."""

    mean: float
    se: float
    p_value: float


def diebold_mariano(differences: np.ndarray, lags: int) -> Difference:
    """Test that the mean of a series of score differences is zero.

    The variance of the mean is the Newey–West estimate with Bartlett weights up to `lags` (h − 1 for h-step windows); t distribution
    with n − 1 degrees of freedom. Sources: Diebold & Mariano, J. Business & Economic Statistics 13 (1995); Newey & West,
    Econometrica 55 (1987). Fewer than two differences have no standard error (inf).
    """
    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    mean = float(d.mean()) if n else math.nan
    if n < 2:
        return Difference(mean, math.inf, 1.0)
    centred = d - mean
    variance = float(centred @ centred) / n
    for lag in range(1, min(lags, n - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    se = math.sqrt(max(variance, 0.0) / (n - 1))
    if se == 0.0:
        return Difference(mean, 0.0, 1.0 if mean == 0.0 else 0.0)
    return Difference(mean, se, float(2 * stats.t.sf(abs(mean) / se, n - 1)))
