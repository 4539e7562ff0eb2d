"""Predictive distributions, one a step and column, that know their moments, quantiles and CRPS."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from statewise._core.checks import Real
from statewise._core.errors import InputError


class Marginals(abc.ABC):
    """One distribution on the real line for every entry of an array of shape `shape`."""

    @property
    @abc.abstractmethod
    def mean(self) -> np.ndarray: ...

    @property
    @abc.abstractmethod
    def variance(self) -> np.ndarray: ...

    @abc.abstractmethod
    def quantile(self, q: float) -> np.ndarray:
        """The q-quantile of each distribution, 0 < q < 1."""

    @abc.abstractmethod
    def crps(self, y: np.ndarray) -> np.ndarray:
        """Continuous ranked probability score ∫(F(x) − 1{x ≥ y})² dx, in the unit of y; 0 is perfect.

        NaN where y is missing. Source: Gneiting & Raftery 2007, eq. 20.
        """

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mean.shape


@dataclass(frozen=True)
class GaussianMarginals(Marginals):
    """Normal distributions."""

    mu: np.ndarray
    var: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.mu

    @property
    def variance(self) -> np.ndarray:
        return self.var

    def quantile(self, q: float) -> np.ndarray:
        z = ndtri(_share(q))
        return np.array(self.mu, dtype=float) if z == 0 else self.mu + np.sqrt(self.var) * z

    def crps(self, y: np.ndarray) -> np.ndarray:
        """σ[z(2Φ(z) − 1) + 2φ(z) − 1/√π] with z = (y − μ)/σ; |y − μ| where σ = 0, inf where σ is.

        Source: Gneiting et al. 2005, eq. 5.
        """
        known = np.isfinite(self.var)
        var = np.where(known, self.var, 1.0)
        return np.where(
            known, _gaussian_abs(y - self.mu, var) - np.sqrt(var / np.pi), np.where(np.isnan(y), np.nan, np.inf)
        )


@dataclass(frozen=True)
class MixtureMarginals(Marginals):
    """Mixtures of K normal distributions: weights, mu and var have a last axis of size K."""

    weights: np.ndarray
    mu: np.ndarray
    var: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return (self.weights * self.mu).sum(axis=-1)

    @property
    def variance(self) -> np.ndarray:
        centred = self.mu - self.mean[..., None]
        return (self.weights * (self.var + centred**2)).sum(axis=-1)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """P(X ≤ x), elementwise; a component without variance is a step at its mean."""
        distance = x[..., None] - self.mu
        with np.errstate(divide="ignore", invalid="ignore"):
            z = distance / np.sqrt(self.var)
        z = np.where(self.var > 0, z, np.where(distance < 0, -np.inf, np.inf))
        return (self.weights * ndtr(z)).sum(axis=-1)

    def quantile(self, q: float) -> np.ndarray:
        """Bisection between the components' own quantiles, to the last bit that doubles resolve."""
        components = self.mu + np.sqrt(self.var) * ndtri(_share(q))
        return bisected(self.cdf, q, components.min(axis=-1), components.max(axis=-1))

    def crps(self, y: np.ndarray) -> np.ndarray:
        """Σ wᵢ A(y − μᵢ, σᵢ²) − ½ Σᵢⱼ wᵢwⱼ A(μᵢ − μⱼ, σᵢ² + σⱼ²), with A(m, s²) = E|N(m, s²)|.

        Source: Grimit et al. 2006, eq. 5.
        """
        first = (self.weights * _gaussian_abs(y[..., None] - self.mu, self.var)).sum(axis=-1)
        gaps = self.mu[..., :, None] - self.mu[..., None, :]
        sums = self.var[..., :, None] + self.var[..., None, :]
        pairs = self.weights[..., :, None] * self.weights[..., None, :]
        return first - (pairs * _gaussian_abs(gaps, sums)).sum(axis=(-2, -1)) / 2


@dataclass(frozen=True)
class SampleMarginals(Marginals):
    """Empirical distributions: `samples` has a first axis of size S ≥ 2."""

    samples: np.ndarray

    def __post_init__(self) -> None:
        if len(self.samples) < 2:
            raise InputError(f"`samples` has {len(self.samples)} sample; pass at least 2, which a spread needs")

    @property
    def mean(self) -> np.ndarray:
        return self.samples.mean(axis=0)

    @property
    def variance(self) -> np.ndarray:
        return self.samples.var(axis=0, ddof=1)

    def quantile(self, q: float) -> np.ndarray:
        return np.quantile(self.samples, _share(q), axis=0)

    def crps(self, y: np.ndarray) -> np.ndarray:
        """E|X − y| − ½ E|X − X′| with the unbiased (fair) estimate of the second term (Ferro 2014)."""
        count = len(self.samples)
        ordered = np.sort(self.samples, axis=0)
        rank = np.arange(1, count + 1).reshape(-1, *[1] * (ordered.ndim - 1))
        half_spread = ((2 * rank - count - 1) * ordered).sum(axis=0) / (count * (count - 1))
        return np.abs(self.samples - y).mean(axis=0) - half_spread


def bisected(cdf: Callable[[np.ndarray], np.ndarray], q: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The q-quantile of continuous laws, elementwise between `low` and `high`, to the last bit that doubles resolve."""
    for _ in range(64):
        middle = (low + high) / 2
        below = cdf(middle) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _share(q: float) -> float:
    share = Real(0.0, 1.0, open_low=True).check("q", q)
    if share == 1.0:
        raise InputError("`q` is 1; the quantile that everything lies below may be infinite: pass a number below 1")
    return share


def _gaussian_abs(m: np.ndarray, var: np.ndarray) -> np.ndarray:
    """E|N(m, var)| = m(2Φ(m/s) − 1) + 2s φ(m/s); |m| where var = 0."""
    s = np.sqrt(var)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = m / s
        value = m * (2 * ndtr(z) - 1) + 2 * s * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.where(s > 0, value, np.abs(m))
