"""Mixtures of normal laws: values in several clumps, or tails and skews that one normal law does not have."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtr

from statewise.nn.outputs.base import SWING, Law, Output, Start, entries, uniform
from statewise.nn.outputs.gaussian import LOG_2PI, normal_start
from statewise.nn.outputs.maths import NUMPY, Array, Maths


class MixtureOutput(Output):
    """y ~ Σ w[k] N(location + sd · offset[k], diag(sd · ratio[k])²), sd = exp log_sd, for K = `size` components shared by the columns.

    log ratio is bounded softly by ±2. Source: mixture density networks, Bishop (1994).
    """

    name: ClassVar[str] = "mixture"
    continuous: ClassVar[bool] = True

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.dim, self.dim, self.size * (1 + 2 * self.dim)

    @property
    def noise_size(self) -> int:
        return self.dim + 1

    def start(self, values: np.ndarray) -> Start:
        """Components side by side, whose mixture has the data's mean and variance."""
        begin = normal_start(values)
        offset = np.linspace(-0.7, 0.7, self.size) if self.size > 1 else np.zeros(1)
        ratio = 0.5 * math.log(1 - float((offset**2).mean()))
        inner = SWING * math.atanh(ratio / SWING)
        shape = [np.zeros(self.size), np.repeat(offset, self.dim), np.full(self.size * self.dim, inner)]
        return begin._replace(shape=np.concatenate(shape))

    def parts(self, maths: Maths, law: Law) -> tuple[Array, Array, Array]:
        """log weights (..., K), means and log standard deviations (..., K, p)."""
        cut = self.size * (1 + self.dim)
        logits = law.shape[..., : self.size]
        offset = entries(law.shape[..., self.size : cut], self.size, self.dim)
        ratio = SWING * maths.tanh(entries(law.shape[..., cut:], self.size, self.dim) / SWING)
        log_sd = law.log_sd[..., None, :]
        mean = law.location[..., None, :] + maths.exp(log_sd) * offset
        return logits - maths.log_sum_exp(logits)[..., None], mean, log_sd + ratio

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        log_weight, mean, log_sd = self.parts(maths, law)
        z = (y[..., None, :] - mean) * maths.exp(-log_sd)
        each = (seen[..., None, :] * (-0.5 * LOG_2PI - log_sd - 0.5 * z**2)).sum(-1)
        return maths.log_sum_exp(log_weight + each)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        return maths.exp(-law.log_sd)

    def _numbers(self, law: Law) -> tuple[Any, Any, Any]:
        log_weight, mean, log_sd = self.parts(NUMPY, law)
        return np.exp(log_weight)[..., None], mean, np.exp(log_sd)

    def mean(self, law: Law) -> np.ndarray:
        weight, mean, _ = self._numbers(law)
        return np.asarray((weight * mean).sum(-2))

    def variance(self, law: Law) -> np.ndarray:
        weight, mean, sd = self._numbers(law)
        return np.asarray((weight * (sd**2 + (mean - self.mean(law)[..., None, :]) ** 2)).sum(-2))

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        weight, mean, sd = self._numbers(law)
        return np.asarray((weight * ndtr((y[..., None, :] - mean) / sd)).sum(-2))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        weight, mean, sd = self._numbers(law)
        chance = uniform(noise[..., -1:])
        chosen = (np.cumsum(weight[..., 0], axis=-1)[..., :-1] < chance).sum(-1)[..., None, None]
        mean, sd = (np.take_along_axis(table, chosen, axis=-2)[..., 0, :] for table in (mean, sd))
        return np.asarray(mean + sd * noise[..., :-1])
