"""Poisson outputs: counts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy import stats

from statewise.nn.outputs.base import Law, Output, Start, column_means, empty, uniform, whole_numbers
from statewise.nn.outputs.maths import NUMPY, Array, Maths


class PoissonOutput(Output):
    """P(y) = λʸ e^−λ / y!, log λ = location. The network sees log(1 + y) of past counts."""

    name: ClassVar[str] = "poisson"

    def view(self, values: np.ndarray) -> np.ndarray:
        return np.log1p(values)

    def judge(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        return whole_numbers(values)

    def start(self, values: np.ndarray) -> Start:
        return Start(log_mean(values), empty(), empty())

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        return (seen * (y * law.location - maths.exp(law.location) - maths.log_gamma(y + 1))).sum(-1)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        return maths.exp(law.location / 2)

    def mean(self, law: Law) -> np.ndarray:
        return NUMPY.exp(law.location)

    def variance(self, law: Law) -> np.ndarray:
        return self.mean(law)

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        rate = self.mean(law)
        return np.asarray(stats.poisson.cdf(y, rate) - 0.5 * stats.poisson.pmf(y, rate))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        return np.asarray(stats.poisson.ppf(uniform(noise), self.mean(law)))


def log_mean(values: np.ndarray) -> np.ndarray:
    """(p,) log of each column's mean, with half a count added to each column so that it is finite."""
    counts = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    return np.log(column_means(values) + 0.5 / counts)
