"""Mixtures of any one-dimensional laws that know their distribution function, and columns with laws of different kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from statewise.results.marginals import Marginals, _share, bisected

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_TAIL = 1e-10  # share of a law left out of numerical integrals at either end
_MOST = 4096  # whole numbers that a score adds up one by one


@dataclass(frozen=True, eq=False)
class LawMixture(Marginals):
    """Mixtures of K laws.

    Attributes:
        weights: (..., p, K) shares.
        law: frozen laws of shape that broadcasts to (..., p, K), with the methods mean, var, cdf, sf and ppf of
            ``scipy.stats``.
        is_discrete: the laws live on the whole numbers.
    """

    weights: np.ndarray
    law: Any
    is_discrete: bool = False

    @property
    def mean(self) -> np.ndarray:
        return (self.weights * self.law.mean()).sum(axis=-1)

    @property
    def variance(self) -> np.ndarray:
        means = self.law.mean()
        return (self.weights * (self.law.var() + (means - self.mean[..., None]) ** 2)).sum(axis=-1)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """P(X ≤ x), elementwise."""
        return (self.weights * self.law.cdf(x[..., None])).sum(axis=-1)

    def sf(self, x: np.ndarray) -> np.ndarray:
        """P(X > x), elementwise."""
        return (self.weights * self.law.sf(x[..., None])).sum(axis=-1)

    def quantile(self, q: float) -> np.ndarray:
        """The least x with F(x) ≥ q: bisection between the components' own quantiles."""
        return self._quantile(_share(q))

    def _quantile(self, q: float) -> np.ndarray:
        used = np.broadcast_to(self.law.ppf(q), self.weights.shape)
        low = np.where(self.weights > 0, used, np.inf).min(axis=-1)
        high = np.where(self.weights > 0, used, -np.inf).max(axis=-1)
        if self.is_discrete:
            low = low - 1.0  # F(low) < q ≤ F(high) throughout
            while (high - low > 1).any():
                middle = np.floor((low + high) / 2)
                below = self.cdf(middle) < q
                low, high = np.where(below, middle, low), np.where(below, high, np.maximum(middle, low + 1))
            return high
        return bisected(self.cdf, q, low, high)

    def crps(self, y: np.ndarray) -> np.ndarray:
        """∫ F² below y and ∫ (1 − F)² above: sums over the whole numbers, or 4 × 48 nodes of Gauss on either side.

        Outside the central share 1 − 2·10⁻¹⁰ nothing is added.
        """
        low, high = np.minimum(self._quantile(_TAIL), y), np.maximum(self._quantile(1 - _TAIL), y)
        if self.is_discrete and np.nanmax(high - low, initial=0.0) <= _MOST:
            return self._summed(y, low, high)
        return self._integral(low, y, lower=True) + self._integral(y, high, lower=False)

    def _summed(self, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        total = np.zeros(y.shape)
        for step in range(int(np.nanmax(high - low, initial=0.0)) + 1):
            x = low + step
            total += np.where(x <= high, (self.cdf(x) - (x >= y)) ** 2, 0.0)
        return np.where(np.isnan(y), np.nan, total)

    def _integral(self, start: np.ndarray, end: np.ndarray, *, lower: bool) -> np.ndarray:
        total, panels = np.zeros(start.shape), 4
        for panel in range(panels):
            # Panels shrink towards y, where the integrand is largest and may have a kink beyond.
            near, far = (0.25**panel, 0.25 ** (panel + 1) if panel + 1 < panels else 0.0)
            a, b = (
                (end - (end - start) * near, end - (end - start) * far)
                if lower
                else (
                    start + (end - start) * far,
                    start + (end - start) * near,
                )
            )
            for node, weight in zip(_NODES, _WEIGHTS, strict=True):
                x = (a + b) / 2 + (b - a) / 2 * node
                total += weight * (b - a) / 2 * (self.cdf(x) if lower else self.sf(x)) ** 2
        return total

    def normal_scores(self, y: np.ndarray) -> np.ndarray:
        """Φ⁻¹(F(y)), from the smaller tail; for whole numbers at the middle of the jump, (F(y − 1) + F(y)) / 2.

        Source: Zucchini, MacDonald & Langrock, *Hidden Markov Models for Time Series* (2016), §6.2.
        """
        at = np.where(np.isnan(y), 0.0, y)
        below, above = self.cdf(at), self.sf(at)
        if self.is_discrete:
            below, above = (below + self.cdf(at - 1)) / 2, (above + self.sf(at - 1)) / 2
        scores = np.where(below < above, ndtri(np.minimum(below, 1.0)), -ndtri(np.minimum(above, 1.0)))
        return np.where(np.isnan(y), np.nan, scores)


@dataclass(frozen=True, eq=False)
class ColumnMarginals(Marginals):
    """Columns with laws of different kinds: `parts` have shapes (..., 1) each."""

    parts: tuple[Marginals, ...]

    @property
    def mean(self) -> np.ndarray:
        return np.concatenate([part.mean for part in self.parts], axis=-1)

    @property
    def variance(self) -> np.ndarray:
        return np.concatenate([part.variance for part in self.parts], axis=-1)

    def quantile(self, q: float) -> np.ndarray:
        return np.concatenate([part.quantile(q) for part in self.parts], axis=-1)

    def crps(self, y: np.ndarray) -> np.ndarray:
        return np.concatenate([part.crps(y[..., [d]]) for d, part in enumerate(self.parts)], axis=-1)
