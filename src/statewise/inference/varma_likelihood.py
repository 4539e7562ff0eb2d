"""The exact log-likelihood of a VARMA on complete data, and its gradient, without a covariance recursion.

Given the state s₁ that the innovations form starts in, the innovations are e[t] = e⁰[t] − G[t] s₁, where e⁰ = Θ(L)⁻¹ Φ(L) (y − μ) starts from zeros
and G[t] = (Ψ[t−1], …, Ψ[t−r]) holds the coefficients of Θ(L)⁻¹ = Σ Ψ[j] Lʲ. Integrating over s₁ ~ N(0, P₀), with M = Σ G' Σ⁻¹ G and h = Σ G' Σ⁻¹ e⁰,
    −2 log p = T log |2π Σ| + Σ e⁰' Σ⁻¹ e⁰ + log |I + P₀ M| − h' V h,   V = (I + P₀ M)⁻¹ P₀
(the argument of Ansley & Kohn, Annals of Statistics 13 (1985), for a proper start). V h and V are the mean and covariance of s₁ given the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dgetrf, dgetri

from statewise.kernels import varma as kernels
from statewise.sequences.sequences import Sequences

_NEGLIGIBLE = 1e-18  # Ψ below this, of 1 at lag 0, changes no digit
_LARGEST = 1e3  # Ψ above this, of a moving average that is not invertible, would cost digits: e⁰ and G s₁ cancel


@dataclass(frozen=True)
class Complete:
    """Complete sequences, ready for many evaluations.

    Attributes:
        values: (rows, k); inputs: (rows, u) or None; offsets: (N + 1,).
        lengths: (N,).
    """

    values: np.ndarray
    inputs: np.ndarray | None
    offsets: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, seqs: Sequences) -> Complete | None:
        """None where an entry is missing."""
        if np.isnan(seqs.values).any():
            return None
        offsets = np.array(seqs.offsets, np.int64)
        return cls(seqs.values, seqs.inputs, offsets, np.diff(offsets))


@dataclass(frozen=True)
class Derivatives:
    """Gradient in Φ, Θ, mean, D, Σ (as if all its entries were free) and P₀, each with the others fixed."""

    ar: np.ndarray
    ma: np.ndarray
    mean: np.ndarray
    weights: np.ndarray
    cov: np.ndarray
    P0: np.ndarray


def innovations(ar: np.ndarray, ma: np.ndarray, y: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """e⁰ (rows, k) = Θ(L)⁻¹ Φ(L) y, with zeros before each sequence."""
    e = y.copy()
    for i, phi in enumerate(ar):
        e[i + 1 :] -= y[: -i - 1] @ phi.T
        for first in offsets[1:-1]:
            stop = min(first + i + 1, len(y))
            e[first:stop] += y[first - i - 1 : stop - i - 1] @ phi.T
    kernels.divide(ma, offsets, e)
    return e


def inverse_coefficients(ma: np.ndarray, longest: int) -> np.ndarray | None:
    """Ψ (L, k, k), L ≤ `longest`, until it is negligible; None where it grows so large that the likelihood would lose digits."""
    psi = kernels.inverse_coefficients(ma, longest, _NEGLIGIBLE, _LARGEST)
    return psi if len(psi) else None


def log_prob_and_derivatives(
    data: Complete,
    ar: np.ndarray,
    ma: np.ndarray,
    mean: np.ndarray,
    weights: np.ndarray,
    cov: np.ndarray,
    P0: np.ndarray,
) -> tuple[float, Derivatives] | None:
    """Log-likelihood of complete sequences, and its derivatives; P₀ (r·k, r·k) is the covariance of the first state of the innovations form.

    None where the moving average is so far from invertible, or Σ so close to singular, that digits would be lost.
    """
    rows, k = data.values.shape
    offsets, n = data.offsets, len(P0)
    psi = inverse_coefficients(ma, int(data.lengths.max()))
    found = _inverse_and_log_det(cov)
    if psi is None or found is None:
        return None
    inverse, logdet = found
    y = data.values - mean
    if data.inputs is not None:
        y -= data.inputs @ weights.T
    e = innovations(ar, ma, y, offsets)
    weighted = kernels.weigh(inverse, psi)
    h, m = np.zeros((2, len(offsets) - 1, n))
    kernels.start_scores(e, offsets, weighted, h)
    value = -0.5 * (rows * (k * np.log(2 * np.pi) + logdet) + np.vdot(e @ inverse, e))
    gP0, moment, gpsi, row = np.zeros((n, n)), np.zeros((k, k)), np.zeros(psi.shape), np.empty(n)
    reach = np.minimum(data.lengths, len(psi) + n // k - 1)
    for steps in set(reach.tolist()):
        group = reach == steps
        count = int(group.sum())
        M = np.zeros((n, n))
        kernels.start_information(psi, weighted, steps, M)
        B = np.eye(n) + P0 @ M
        found = _inverse_and_log_det(B)
        if found is None:
            return None
        back, logdet = found
        V = back @ P0
        m[group] = part = h[group] @ V.T
        rest = h[group] - part @ M
        value += 0.5 * (np.vdot(part, h[group]) - count * logdet)
        gP0 += 0.5 * (rest.T @ rest - count * (M @ back))
        kernels.spread_covariance(psi, V, steps, float(count), row, moment, gpsi)
    start = e.copy()
    kernels.spread_means(psi, m, offsets, e, gpsi)
    moment += e.T @ e
    gcov = 0.5 * (inverse @ moment @ inverse - rows * inverse)
    z = -(e @ inverse)
    kernels.multiply_transposed(ma, offsets, z, z)
    gma, gar, gy = np.zeros(ma.shape), np.zeros(ar.shape), np.empty(y.shape)
    kernels.lag_products(z, start, offsets, gma)
    kernels.lag_products(z, y, offsets, gar)
    kernels.multiply_transposed(ar, offsets, z, gy)
    if len(ma):
        kernels.through_coefficients(ma, psi, kernels.weigh(inverse, gpsi), gma)
    gD = np.zeros(weights.shape) if data.inputs is None else -gy.T @ data.inputs
    return float(value), Derivatives(gar, gma, -gy.sum(axis=0), gD, gcov, gP0)


def _inverse_and_log_det(matrix: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Both from one LU factorisation; None where the determinant is not positive. `np.linalg` factorises twice, and is ten times slower at 2 × 2."""
    lu, pivots, failed = dgetrf(matrix)
    diagonal = lu.diagonal().tolist()  # loops in Python: the matrices are small
    swaps = sum(i != pivot for i, pivot in enumerate(pivots.tolist()))
    if failed or (sum(value < 0 for value in diagonal) + swaps) % 2:
        return None
    log_det = sum(math.log(abs(value)) for value in diagonal)
    return (dgetri(lu, pivots)[0], log_det) if math.isfinite(log_det) else None
