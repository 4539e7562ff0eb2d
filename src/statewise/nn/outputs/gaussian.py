"""Normal outputs: independent columns, or a full covariance."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from statewise.nn.outputs.base import Law, Output, Start, column_means, empty
from statewise.nn.outputs.maths import NUMPY, Array, Maths

LOG_2PI = math.log(2 * math.pi)
_SMALLEST_SD = 1e-3  # of a standardised column


class GaussianOutput(Output):
    """y ~ N(location, diag(exp log_sd)²)."""

    name: ClassVar[str] = "gaussian"
    continuous: ClassVar[bool] = True

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.dim, self.dim, 0

    def start(self, values: np.ndarray) -> Start:
        return normal_start(values)

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        z = (y - law.location) * maths.exp(-law.log_sd)
        return (seen * (-0.5 * LOG_2PI - law.log_sd - 0.5 * z**2)).sum(-1)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        return maths.exp(-law.log_sd)

    def mean(self, law: Law) -> np.ndarray:
        return np.asarray(law.location)

    def variance(self, law: Law) -> np.ndarray:
        return np.exp(2 * law.log_sd)

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        return np.asarray(ndtr((y - self.mean(law)) / np.sqrt(self.variance(law))))

    def residuals(self, law: Law, y: np.ndarray) -> np.ndarray:
        return (y - self.mean(law)) / np.sqrt(self.variance(law))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        return np.asarray(law.location + np.exp(law.log_sd) * noise)


class FullGaussianOutput(GaussianOutput):
    """y ~ N(location, S Sᵀ) with S = diag(exp log_sd) (I + strictly lower triangular `shape`).

    A missing entry is integrated out of its row: its row and column of the covariance become those of the identity.
    """

    name: ClassVar[str] = "gaussian-full"

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.dim, self.dim, self.dim * (self.dim - 1) // 2

    def start(self, values: np.ndarray) -> Start:
        """The covariance of the complete rows, its correlations shrunk by a tenth; without correlations where such rows are few."""
        begin = normal_start(values)
        complete = values[~np.isnan(values).any(axis=1)]
        if len(complete) < 2 * self.dim + 2:
            return begin._replace(shape=empty(self.widths[2]))
        sd = np.exp(begin.log_sd)
        standard = (complete - complete.mean(axis=0)) / sd
        correlation = 0.9 * standard.T @ standard / len(complete)
        np.fill_diagonal(correlation, 1.0)
        root = sd[:, None] * np.linalg.cholesky(correlation)
        unit = root / np.diagonal(root)[:, None]
        return Start(begin.location, np.log(np.diagonal(root)), unit[np.tril_indices(self.dim, -1)])

    def root(self, maths: Maths, law: Law) -> Array:
        """(..., p, p) S."""
        unit = maths.eye(self.dim, law.location) + maths.lower(law.shape, self.dim)
        return maths.exp(law.log_sd)[..., None] * unit

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        root, gap = self.root(maths, law), y - law.location
        if bool((seen == 1).all()):
            z, log_det = maths.whitened(root, gap), law.log_sd.sum(-1)
        else:
            eye = maths.eye(self.dim, law.location)
            both = seen[..., :, None] * seen[..., None, :]
            reduced = maths.root(both * (root @ root.swapaxes(-1, -2)) + eye * (1 - seen)[..., None])
            z = maths.whitened(reduced, seen * gap)
            log_det = maths.log((reduced * eye).sum(-1)).sum(-1)
        return -0.5 * LOG_2PI * seen.sum(-1) - log_det - 0.5 * (z**2).sum(-1)

    def variance(self, law: Law) -> np.ndarray:
        return np.asarray((self.root(NUMPY, law) ** 2).sum(-1))

    def covariance(self, law: Law) -> np.ndarray:
        root = self.root(NUMPY, law)
        return np.asarray(root @ root.swapaxes(-1, -2))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        return np.asarray(law.location + (self.root(NUMPY, law) @ noise[..., None])[..., 0])


def normal_start(values: np.ndarray) -> Start:
    """Mean and standard deviation of each column."""
    mean = column_means(values)
    sd = np.sqrt(column_means((values - mean) ** 2))
    return Start(mean, np.log(np.maximum(sd, _SMALLEST_SD)), empty())
