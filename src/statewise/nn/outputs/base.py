"""What an output of a recurrent network is: the law of a row of values, given what the head says."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from statewise.nn.outputs.maths import Array, Maths

SWING = 2.0


class Law(NamedTuple):
    """What the head says of each step (`nn.head`): `location` (..., a), `log_sd` (..., b) and `shape` (..., c)."""

    location: Array
    log_sd: Array
    shape: Array


class Start(NamedTuple):
    """Where training begins, from the marginal law of the data: location (a,), log_sd (b,) and shape (c,)."""

    location: np.ndarray
    log_sd: np.ndarray
    shape: np.ndarray


class Output(abc.ABC):
    """The law of p values, each of which may be missing: then it is not scored.

    Args:
        dim: p.
        size: what the family counts, such as components or symbols.

    Attributes:
        name: the word that users write.
        continuous: the values are real numbers. The law is then of *standardised* values, and the skip starts as their regression.
    """

    name: ClassVar[str]
    continuous: ClassVar[bool] = False

    def __init__(self, dim: int, size: int = 1) -> None:
        self.dim, self.size = dim, size

    # --- sizes ------------------------------------------------------------------------------------------------------

    @property
    def widths(self) -> tuple[int, int, int]:
        """a, b and c: the numbers of the head's location, log_sd and shape."""
        return self.dim, 0, 0

    @property
    def noise_size(self) -> int:
        """Standard normal numbers that a draw takes."""
        return self.dim

    # --- what the network sees ----------------------------------------------------------------------------------------

    standardised: ClassVar[bool] = True  # whether the view is centred and scaled by the training part

    def view(self, values: np.ndarray) -> np.ndarray:
        """(..., v) what the network sees of past values (..., p); NaN where missing."""
        return values

    def judge(self, values: np.ndarray) -> tuple[np.ndarray, str]:
        """Which entries (NaN aside) the family cannot have, and what it can have in words."""
        return np.zeros(values.shape, dtype=bool), "real numbers"

    @abc.abstractmethod
    def start(self, values: np.ndarray) -> Start:
        """From training values (rows, p) with NaN; of a continuous family, standardised."""

    # --- the law ------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        """(...) log density or probability of the observed entries of y (..., p); `seen` is 1 where observed, and y is finite elsewhere too."""

    @abc.abstractmethod
    def sharpness(self, maths: Maths, law: Law) -> Array:
        """(..., a) root of the location's Fisher information, roughly: in units of 1 over it, a fit weighs departures from its start."""

    @abc.abstractmethod
    def mean(self, law: Law) -> np.ndarray:
        """(..., p)."""

    @abc.abstractmethod
    def variance(self, law: Law) -> np.ndarray:
        """(..., p)."""

    def covariance(self, law: Law) -> np.ndarray:
        """(..., p, p); diagonal unless the columns depend on each other given the past."""
        variance = self.variance(law)
        return variance[..., None] * np.eye(variance.shape[-1])

    @abc.abstractmethod
    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        """(..., p) each column's own P(Y ≤ y); of whole numbers P(Y < y) + ½ P(Y = y), the middle of the jump."""

    @abc.abstractmethod
    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        """(..., p) a draw, from standard normal numbers (..., noise_size)."""

    def residuals(self, law: Law, y: np.ndarray) -> np.ndarray:
        """(..., p) normal pseudo-residuals Φ⁻¹(F(y)), standard normal if the model is right; NaN where missing.

        Source: Dunn & Smyth, J. Computational and Graphical Statistics 5 (1996), with the middle of the jump in place of chance.
        """
        share = self.cdf(law, np.where(np.isnan(y), 0.0, y))
        return np.where(np.isnan(y), np.nan, ndtri(np.clip(share, 1e-15, 1 - 1e-15)))


def uniform(noise: np.ndarray) -> np.ndarray:
    """Numbers in (0, 1) from standard normal ones."""
    return np.clip(ndtr(noise), 1e-15, 1 - 1e-15)


def column_means(values: np.ndarray) -> np.ndarray:
    """(p,) means of the observed entries; 0 for a column without."""
    seen = ~np.isnan(values)
    return np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def whole_numbers(values: np.ndarray) -> tuple[np.ndarray, str]:
    """For `judge`: which entries are no counts."""
    given = np.nan_to_num(values)
    return (given < 0) | (given != np.floor(given)), "whole numbers from 0"


def empty(size: int = 0) -> np.ndarray:
    """Zeros (size,)."""
    return np.zeros(size)


def entries(a: Any, size: int, width: int) -> Any:
    """(..., size · width) as (..., size, width)."""
    return a.reshape(*a.shape[:-1], size, width)
