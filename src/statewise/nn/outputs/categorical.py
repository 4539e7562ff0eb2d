"""Categorical outputs: symbols coded 0 … M − 1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from statewise.nn.outputs.base import Law, Output, Start, empty, entries, uniform
from statewise.nn.outputs.maths import NUMPY, Array, Maths


class CategoricalOutput(Output):
    """P(y = m) = softmax(location)[m] for M = `size` symbols, column by column, independent given the past.

    The network sees past symbols as indicators, so that the first weights are an embedding of the symbols. Means, variances and
    distribution functions are those of the codes.
    """

    name: ClassVar[str] = "categorical"
    standardised: ClassVar[bool] = False

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.dim * self.size, 0, 0

    def view(self, values: np.ndarray) -> np.ndarray:
        flags = (values[..., None] == np.arange(self.size)).astype(np.float64)
        flags[np.isnan(values)] = np.nan
        return flags.reshape(*values.shape[:-1], self.dim * self.size)

    def judge(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        given = np.nan_to_num(values)
        wrong = (given < 0) | (given >= self.size) | (given != np.floor(given))
        return wrong, f"codes 0, 1, … up to {self.size - 1}"

    def start(self, values: np.ndarray) -> Start:
        """Log shares of the symbols, with half an observation of each added."""
        counts = np.nansum(self.view(values), axis=0).reshape(self.dim, self.size) + 0.5
        return Start(np.log(counts / counts.sum(axis=1, keepdims=True)).reshape(-1), empty(), empty())

    def log_probs(self, maths: Maths, law: Law) -> Array:
        """(..., p, M)."""
        logits = entries(law.location, self.dim, self.size)
        return logits - maths.log_sum_exp(logits)[..., None]

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        return (seen * maths.picked(self.log_probs(maths, law), y)).sum(-1)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        share = maths.exp(self.log_probs(maths, law))
        return ((share * (1 - share)) ** 0.5).reshape(law.location.shape)

    def probs(self, law: Law) -> np.ndarray:
        """(..., p, M)."""
        return np.exp(self.log_probs(NUMPY, law))

    def mean(self, law: Law) -> np.ndarray:
        return np.asarray(self.probs(law) @ np.arange(self.size))

    def variance(self, law: Law) -> np.ndarray:
        codes = np.arange(self.size)
        return np.asarray((self.probs(law) * (codes - self.mean(law)[..., None]) ** 2).sum(-1))

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        probs, codes = self.probs(law), np.arange(self.size)
        y = y[..., None]
        return np.asarray((probs * ((codes < y) + 0.5 * (codes == y))).sum(-1))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        below = np.cumsum(self.probs(law), axis=-1)[..., :-1]
        return (below < uniform(noise)[..., None]).sum(-1).astype(np.float64)
