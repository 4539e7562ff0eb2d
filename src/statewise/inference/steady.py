"""The steady state of the Kalman filter: its gain, and the memory that its eigenvalues give."""

from __future__ import annotations

import numpy as np

from statewise.inference.system import System
from statewise.kernels import limits
from statewise.results.fit import Memory, half_life


def predictor_gain(sys: System, max_iter: int = 100_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """The steady gain K = (A P C' + S) F⁻¹, the innovation covariance F, the state covariance P, and whether they settled.

    The filter's own recursion is iterated. A diffuse part starts as a large finite covariance, which is forgotten by the time the gain is
    steady. With a root of A − K C on the unit circle the recursion settles like 1/t only, and the last of `max_iter` iterates is returned.
    """
    scale = max(float(np.abs(part).max(initial=0.0)) for part in (sys.P0, sys.Q, sys.R))
    P = sys.P0 + 1e6 * scale * sys.Pinf
    settled = settle(sys, P, max_iter) < max_iter
    F = sys.C @ P @ sys.C.T + sys.R
    units = np.sqrt(np.where(np.diag(F) > 0, np.diag(F), 1.0))
    cross = (sys.A @ P @ sys.C.T + sys.S) / units
    K = np.linalg.lstsq(F / units[:, None] / units, cross.T, rcond=1e-14)[0].T / units
    return K, F, P, settled


def settle(sys: System, P: np.ndarray, max_iter: int) -> int:
    """Iterate the covariance P of the prediction in place, on complete data, until it is steady; the number of steps that took."""
    floor = 1e-4 * np.diag(sys.P0)
    return int(limits.steady_covariance(sys.A, sys.C, sys.Q, sys.R, sys.S, P, floor, max_iter))


def memory(sys: System) -> Memory:
    """Half-lives from the spectral radii of A − K C (the predictor) and A (the process)."""
    K, F, _, settled = predictor_gain(sys, max_iter=20_000)
    return closed_loop_memory(sys.A, sys.C, K, F, settled)


def closed_loop_memory(A: np.ndarray, C: np.ndarray, K: np.ndarray, F: np.ndarray, settled: bool = True) -> Memory:
    """The memory of the predictor h[t+1] = (A − K C) h[t] + K y[t]; it never fades where the gain does not settle.

    The weight of the observation k + 1 steps back is C (A − K C)ᵏ K, here in units of the innovations' standard deviations (from their
    covariance F). Where all weights from the n-th on vanish, as for an autoregression, the memory ends after the last that does not.
    """
    closed, process = A - K @ C, half_life(spectral_radius(A))
    n, scale = len(A), np.sqrt(np.diag(F))
    weights, response = np.empty(2 * n), K
    for lag in range(2 * n):
        weights[lag] = np.abs((C @ response) * scale / scale[:, None]).max(initial=0.0)
        response = closed @ response
    counts = weights > 1e-10 * weights.max(initial=0.0)
    if not counts[n:].any():
        return Memory(0.0, 0.0, "eigenvalues", process, int(np.flatnonzero(counts).max(initial=-1)) + 1)
    rate = spectral_radius(closed) if settled else 1.0
    return Memory(half_life(rate), rate, "eigenvalues", process)


def spectral_radius(matrix: np.ndarray) -> float:
    """Largest modulus of an eigenvalue; within 1e-7 of 1 it is a unit root."""
    radius = float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))
    return 1.0 if abs(radius - 1.0) < 1e-7 else radius
