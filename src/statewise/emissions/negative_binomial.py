"""Negative binomial emissions: counts that vary more than a Poisson's, mean μ and variance μ + μ² / r."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import betaln, digamma, xlogy

from statewise._core import checks
from statewise.emissions.columnwise import Column, ColumnwiseEmission, weighted_mean, whole_numbers

_SIZES = (1e-6, 1e6)  # beyond the upper end the law is a Poisson's to six digits, and differences of log Γ lose theirs


class NegativeBinomialEmission(ColumnwiseEmission):
    """P(y) = Γ(y + r) / (Γ(r) y!) (r / (r + μ))^r (μ / (r + μ))^y, μ = means[k], r = sizes[k].

    The law of a Poisson count whose rate is gamma distributed with shape r (Greenwood & Yule, JRSS 83 (1920)). Counts that
    vary no more than a Poisson's have no finite best size: it ends at 10⁶, which is a Poisson law to six digits.
    """

    kind: ClassVar[str] = "negative-binomial"
    parameter_names: ClassVar[tuple[str, ...]] = ("means", "sizes")
    option_names: ClassVar[tuple[str, ...]] = ()
    is_discrete: ClassVar[bool] = True
    ranges: ClassVar[dict[str, checks.Real]] = {"means": checks.Real(0.0, 1e15), "sizes": checks.Real(*_SIZES)}

    @staticmethod
    def _law(parameters: Column) -> Any:
        mean, size = parameters["means"], parameters["sizes"]
        return stats.nbinom(size, size / (size + mean))

    @staticmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        mean, size = parameters["means"], parameters["sizes"]
        count = np.maximum(y, 1.0)
        ways = np.where(y > 0, -betaln(count, size) - np.log(count), 0.0)
        return np.asarray(ways + xlogy(y, mean / (size + mean)) - size * np.log1p(mean / size))

    @staticmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        mean = weighted_mean(y, weights)
        sizes = [_best_size(y, w, m, r) for w, m, r in zip(weights.T, mean, now["sizes"], strict=True)]
        return {"means": mean, "sizes": np.array(sizes)}

    @classmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        return whole_numbers(y)

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        excess = variance - mean
        size = mean * mean / excess if excess > 0 else _SIZES[1]
        return {"means": mean, "sizes": float(np.clip(size, *_SIZES))}


def _best_size(y: np.ndarray, weights: np.ndarray, mean: float, now: float) -> float:
    """The zero of Σ w (ψ(y + r) − ψ(r)) − W log(1 + μ/r); with the mean at its best, μ = ȳ, the rest cancels."""
    total = weights.sum()
    if mean == 0.0:
        return now  # zeros only: every size says the same

    def slope(log_size: float) -> float:
        size = np.exp(log_size)
        return float(weights @ (digamma(y + size) - digamma(size)) - total * np.log1p(mean / size))

    low, high = np.log(_SIZES)
    excess = weights @ (y - mean) ** 2 / total - mean
    if excess <= 0 or slope(high) >= 0:
        return _SIZES[1]
    return float(np.exp(brentq(slope, low, high, xtol=1e-12))) if slope(low) > 0 else _SIZES[0]
