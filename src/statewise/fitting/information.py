"""Observed information and standard errors: functions of an objective with a gradient, ignorant of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from statewise.fitting.mle import Objective

STEP = float(np.finfo(float).eps ** (1 / 3))  # balances the truncation and the rounding of central differences


@dataclass(frozen=True)
class Information:
    """Minus the Hessian of a log-likelihood at a point.

    Attributes:
        matrix: (m, m); NaN where a neighbour of the point is not allowed.
        covariance: (m, m) its inverse, NaN unless the matrix is positive definite.
        condition: of the matrix scaled to a unit diagonal; inf where it is not positive definite.
        step: of the differences, relative to max(1, |parameter|).
    """

    matrix: np.ndarray
    covariance: np.ndarray
    condition: float
    step: float


def observed_information(objective: Objective, point: np.ndarray, step: float = STEP) -> Information:
    """−∂² log L by central differences of the exact gradient (Efron & Hinkley, Biometrika 65 (1978), on why the observed one).

    Args:
        objective: log-likelihood and gradient at a parameter vector, or None where it is not allowed.
        point: (m,) where, as a rule the maximum.
        step: of the differences, relative to max(1, |parameter|).
    """
    m = point.size
    hessian = np.full((m, m), np.nan)
    for i in range(m):
        shift = np.zeros(m)
        shift[i] = step * max(1.0, abs(float(point[i])))
        up, down = objective(point + shift), objective(point - shift)
        if up is not None and down is not None:
            hessian[i] = (up[1] - down[1]) / (2 * shift[i])
    matrix = -(hessian + hessian.T) / 2
    covariance, condition = _invert(matrix)
    return Information(matrix, covariance, condition, step)


def _invert(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    unknown = np.full(matrix.shape, np.nan)
    if not matrix.size:
        return unknown, 1.0
    diagonal = np.diag(matrix)
    if not np.isfinite(matrix).all() or (diagonal <= 0).any():
        return unknown, float("inf")
    units = np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(matrix / units[:, None] / units)
    if values[0] <= 0:
        return unknown, float("inf")
    inverse = (vectors / values) @ vectors.T / units[:, None] / units
    return inverse, float(values[-1] / values[0])


def delta_method(
    natural: Callable[[np.ndarray], np.ndarray], point: np.ndarray, covariance: np.ndarray, step: float = STEP
) -> np.ndarray:
    """Covariance J V J' of natural(θ̂), with J = ∂natural/∂θ by central differences (van der Vaart 1998, ch. 3)."""
    columns = []
    for i in range(point.size):
        shift = np.zeros(point.size)
        shift[i] = step * max(1.0, abs(float(point[i])))
        columns.append((natural(point + shift) - natural(point - shift)) / (2 * shift[i]))
    jacobian = np.stack(columns, axis=-1) if columns else np.zeros((natural(point).size, 0))
    result: np.ndarray = jacobian @ covariance @ jacobian.T
    return result
