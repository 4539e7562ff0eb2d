"""Negative binomial outputs: counts that vary more than a Poisson's."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats

from statewise.nn.outputs.base import Law, Output, Start, column_means, empty, uniform, whole_numbers
from statewise.nn.outputs.maths import NUMPY, Array, Maths
from statewise.nn.outputs.poisson import log_mean

_MOST = 6.0  # bound of |log size|: at e⁶ = 403 the law is nearly a Poisson's


class NegativeBinomialOutput(Output):
    """Mean μ = exp location and variance μ + μ²/r, log r = 6 tanh(shape / 6). The network sees log(1 + y) of past counts.

    P(y) = Γ(y + r) / (Γ(r) y!) (r / (r + μ))^r (μ / (r + μ))^y.
    """

    name: ClassVar[str] = "negative-binomial"

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.dim, 0, self.dim

    def view(self, values: np.ndarray) -> np.ndarray:
        return np.log1p(values)

    def judge(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        return whole_numbers(values)

    def start(self, values: np.ndarray) -> Start:
        """Mean and variance of each column."""
        mean = column_means(values)
        excess = np.maximum(column_means((values - mean) ** 2) - mean, 1e-3)
        bounded = np.clip(np.log(np.maximum(mean, 1e-3) ** 2 / excess) / _MOST, -0.9, 0.9)
        return Start(log_mean(values), empty(), _MOST * np.arctanh(bounded))

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        log_size = _MOST * maths.tanh(law.shape / _MOST)
        size = maths.exp(log_size)
        ways = maths.log_gamma(y + size) - maths.log_gamma(size) - maths.log_gamma(y + 1)
        odds = maths.softplus(law.location - log_size)  # log((r + μ) / r)
        return (seen * (ways - size * odds + y * (law.location - log_size - odds))).sum(-1)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        log_size = _MOST * maths.tanh(law.shape / _MOST)
        return maths.exp((law.location - maths.softplus(law.location - log_size)) / 2)

    def _law(self, law: Law) -> Any:
        mean, size = np.exp(law.location), NUMPY.exp(_MOST * np.tanh(law.shape / _MOST))
        return stats.nbinom(size, size / (size + mean))

    def mean(self, law: Law) -> np.ndarray:
        return NUMPY.exp(law.location)

    def variance(self, law: Law) -> np.ndarray:
        mean = self.mean(law)
        return np.asarray(mean + mean**2 / np.exp(_MOST * np.tanh(law.shape / _MOST)))

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        found = self._law(law)
        return np.asarray(found.cdf(y) - 0.5 * found.pmf(y))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        return np.asarray(self._law(law).ppf(uniform(noise)))
