"""Bernoulli outputs: flags 0 and 1, one or several a step (multi-label)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import expit

from statewise.nn.outputs.base import Law, Output, Start, empty, uniform
from statewise.nn.outputs.maths import Array, Maths


class BernoulliOutput(Output):
    """P(y = 1) = σ(location), column by column, independent given the past."""

    name: ClassVar[str] = "bernoulli"

    def judge(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        given = np.nan_to_num(values)
        return (given != 0) & (given != 1), "0 and 1"

    def start(self, values: np.ndarray) -> Start:
        """Log odds of each column, with half an observation of either kind added."""
        ones, seen = np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0)
        return Start(np.log(ones + 0.5) - np.log(seen - ones + 0.5), empty(), empty())

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        return (seen * (y * law.location - maths.softplus(law.location))).sum(-1)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        return maths.exp(law.location / 2 - maths.softplus(law.location))

    def mean(self, law: Law) -> np.ndarray:
        return np.asarray(expit(law.location))

    def variance(self, law: Law) -> np.ndarray:
        return np.asarray(expit(law.location) * expit(-law.location))

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        chance = self.mean(law)
        return np.where(y < 0.5, 0.5 * (1 - chance), 1 - 0.5 * chance)

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        return (uniform(noise) > 1 - self.mean(law)).astype(np.float64)
