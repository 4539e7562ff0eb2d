"""Forecasts of recurrent networks by moments: a mean and a covariance of all that is carried, moved on step by step without drawing.

Carried are z = (the layers' states, the last values that the skip and the cell still look back at). Given z the next row y has the
law of the head, with mean m and covariance V, and the step z → z' is a function of z and y, linear in y. So with points z⁽ⁱ⁾ that have the
mean and the covariance of z,
::

    E y   = mean of m(z⁽ⁱ⁾)
    Var y = mean of V(z⁽ⁱ⁾) + variance of m(z⁽ⁱ⁾)            (the law of total variance)
    Cov z' = covariance of z'(z⁽ⁱ⁾, m(z⁽ⁱ⁾)) + mean of V(z⁽ⁱ⁾) where y enters z'

The points are mean ± √r · the columns of a root of the covariance with r columns. They are exact where the step is linear in z, as it is
for a network that keeps to its linear skip, and else right to the third order of the spread.

Source: cubature; Arasaratnam & Haykin, *Cubature Kalman Filters*, IEEE Trans. Automatic Control 54 (2009), §III.
"""

from __future__ import annotations

import numpy as np

from statewise._core.errors import InputError, NumericalError
from statewise.inference.recurrent import Parameters, Read, output_of
from statewise.inference.recurrent_paths import Ends, advance, begin_at
from statewise.nn.outputs import Output


def forecast_moments(
    cell: str,
    params: Parameters,
    past: Read,
    ends: Ends,
    steps: int,
    inputs: np.ndarray | None,
    output: Output | None = None,
    gaps: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances (M, steps, p) of the steps after each of M ends, in the data's units; inputs (M, steps, u), gaps (M, steps).

    Raises:
        InputError: the output is not continuous, so that what the network would see of a mean is not one of its values.
        NumericalError: a moment is not finite.
    """
    output = output_of(params, output)
    if not output.continuous:
        raise InputError(f"`method` is 'moments' but output {output.name!r} has no real values; pass method='sampling'")
    layers, tails = begin_at(params, past, ends)
    mean, variance = np.empty((2, len(ends.rows), steps, output.dim))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(len(ends.rows)):
            given = None if inputs is None else inputs[k]
            own = np.ones(steps) if gaps is None else gaps[k]
            begin = [layer[k] for layer in layers], tails[k]
            mean[k], variance[k] = _one(cell, params, begin, given, own, output)
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise NumericalError(
            f"a moment of the forecast is not finite within {steps} steps: the fitted dynamics are explosive, or the output has no "
            "variance; ask for fewer steps, or pass method='sampling'"
        )
    scale = params["value_scale"]
    return params["value_mean"] + scale * mean, scale**2 * variance


def _one(
    cell: str,
    params: Parameters,
    begin: tuple[list[np.ndarray], np.ndarray],
    inputs: np.ndarray | None,
    gaps: np.ndarray,
    output: Output,
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances (steps, p) of standardised values after one end."""
    sizes = np.cumsum([len(layer) for layer in begin[0]])
    lags, dim = begin[1].shape
    center, known = np.concatenate([*begin[0], begin[1].reshape(-1)]), np.ones(lags * dim, dtype=bool)
    known[:] = ~np.isnan(begin[1].reshape(-1))  # what was missing stays so, until it is out of reach
    root, found = np.zeros((len(center), 0)), []
    for t in range(len(gaps)):
        points = _points(center, root)
        states = np.split(points[:, : sizes[-1]], sizes[:-1], axis=1)
        view = np.where(known, points[:, sizes[-1] :], np.nan).reshape(len(points), lags, dim)
        u = None if inputs is None else np.repeat(inputs[None, t : t + 1], len(points), axis=0)
        law, after = advance(cell, params, states, view, u, output, np.full((len(points), 1), gaps[t]))
        m, noise = output.mean(law), output.covariance(law).mean(axis=0)
        spread = m - m.mean(axis=0)
        found.append((m.mean(axis=0), np.diagonal(noise) + (spread**2).mean(axis=0)))
        filled = np.where(known, points[:, sizes[-1] :], 0.0)
        moved = np.concatenate([*after, filled[:, dim:], m], axis=1)
        known = np.concatenate([known[dim:], np.ones(dim, dtype=bool)])
        center = moved.mean(axis=0)
        drawn = np.zeros((len(center), dim))
        drawn[-dim:] = _square_root(noise)
        root = _compressed(np.concatenate([(moved - center).T / np.sqrt(len(moved)), drawn], axis=1))
    return np.array([mean for mean, _ in found]), np.array([variance for _, variance in found])


def _points(center: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(2 r, n) points with this mean and the covariance root rootᵀ; the mean alone where that is 0."""
    if not root.shape[1]:
        return center[None]
    away = np.sqrt(root.shape[1]) * root.T
    return np.concatenate([center + away, center - away])


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """A root of a covariance that may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    result: np.ndarray = vectors * np.sqrt(np.maximum(values, 0.0))
    return result


def _compressed(columns: np.ndarray) -> np.ndarray:
    """A root of columns columnsᵀ with no more columns than its rank."""
    if not np.isfinite(columns).all():
        return columns[:, :1]
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    kept = values > values[0] * len(columns) * np.finfo(np.float64).eps if len(values) else values > 0
    result: np.ndarray = left[:, kept] * values[kept]
    return result
