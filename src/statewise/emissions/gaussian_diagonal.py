"""Normal laws with independent columns: likelihood and M step, entry by entry, so that a NaN simply does not count.

The observed entries of a row are independent given the state; maximising their expected log-likelihood needs no
expectation over the missing ones: the weighted mean and variance of the observed entries are the exact maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.emissions.rows import Rows
from statewise.kernels import _chunks, gaussian

NO_WEIGHT = 1e-200  # a state with less weight than this keeps its law


@dataclass(frozen=True, eq=False)
class Estimate:
    """Means (K, p), covariances in their natural shape, and the states whose covariance met the floor."""

    means: np.ndarray
    covariances: np.ndarray
    held: tuple[int, ...]


def log_likelihood(values: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """(rows, K) Σ over observed entries of −½ log 2πσ² − (y − μ)² / 2σ²."""
    table = np.empty((len(values), len(means)))
    m, var = np.ascontiguousarray(means.T), np.ascontiguousarray(variances.T)
    half, constant = 0.5 / var, -0.5 * np.log(2 * np.pi * var)

    def work(chunk: int, first: int, last: int) -> None:
        gaussian.diagonal_table(values, m, half, constant, first, last, table)

    _chunks.share(work, _chunks.by_row(len(values)), 2.0 * values.size * len(means))
    return table


def moments(values: np.ndarray, weights: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ w, Σ w (y − c) and Σ w (y − c)² over the observed entries, each (K, p), for centres c (K, p)."""
    bounds = _chunks.by_row(len(values))
    K, p = centres.shape
    sums = np.zeros((3, len(bounds) - 1, p, K))
    c = np.ascontiguousarray(centres.T)

    def work(chunk: int, first: int, last: int) -> None:
        gaussian.diagonal_moments(values, weights, c, first, last, sums[0, chunk], sums[1, chunk], sums[2, chunk])

    _chunks.share(work, bounds, 6.0 * values.size * K)
    s0, s1, s2 = sums.sum(axis=1)
    return s0.T, s1.T, s2.T


def m_step(
    rows: Rows,
    weights: np.ndarray,
    means: np.ndarray,
    variances: np.ndarray,
    floor: np.ndarray,
    spherical: bool,
) -> Estimate:
    """Weighted means and variances, the latter not below `floor` (p,), or its average for `spherical`."""
    mass, mean, found = _about(rows.values, weights, means)
    known = mass > NO_WEIGHT
    mean, found = np.where(known, mean, means), np.where(known, found, variances)
    if spherical:
        total = np.where(known, mass, 0.0).sum(axis=1)
        pooled = (np.where(known, mass, 0.0) * found).sum(axis=1) / np.where(total > 0, total, 1.0)
        found = np.where(total > 0, pooled, variances[:, 0])
        floor, low = floor.mean(), found < floor.mean()
    else:
        low = (found < floor).any(axis=1)
    return Estimate(mean, np.maximum(found, floor), tuple(int(k) for k in np.flatnonzero(low)))


def _about(values: np.ndarray, weights: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, weighted means and variances (K, p). Sums are about the old means, so that no digits cancel once a fit settles."""
    s0, s1, s2 = moments(values, weights, means)
    mass = np.where(s0 > NO_WEIGHT, s0, 1.0)
    shift = s1 / mass
    return s0, means + shift, s2 / mass - shift**2
