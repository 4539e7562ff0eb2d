"""The innovations form of a state-space model, the VARMA that it is, and the start that a schedule of gains came from.

Sources: Anderson & Moore, *Optimal Filtering* (1979), §9.3; Hannan & Deistler, *The Statistical Theory of Linear Systems* (1988), §2.3.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from statewise.inference.steady import predictor_gain
from statewise.inference.system import System, stationary_start
from statewise.inference.varma import VarmaParameters

_RANK = 1e-10  # relative singular value of an observability matrix of scaled rows
_CLEAR = 0.1  # the same, of lags that determine the states without loss of digits
_SAME = 1e-9  # relative difference that two schedules of one filter may have
_NEGATIVE = 1e-9  # relative eigenvalue that rounding alone may give a covariance


def with_innovations(sys: System, K: np.ndarray, F: np.ndarray, P0: np.ndarray, Pinf: np.ndarray) -> System:
    """x[t+1] = A x[t] + … + K e[t], y[t] = C x[t] + … + e[t], e ~ N(0, F): Q = K F K', R = F, S = K F."""
    S = K @ F
    Q = S @ K.T
    return replace(sys, Q=(Q + Q.T) / 2, R=(F + F.T) / 2, S=S, P0=P0, Pinf=Pinf)


def innovations_form(sys: System) -> System | None:
    """The same law of y with one disturbance, the innovation; None if the start is more certain than the steady filter.

    With P the steady covariance of the prediction, P[t] − P obeys the Riccati recursion of the innovations form, so its start is P0 − P,
    which has to be a covariance. What is diffuse hides the finite part of the start.

    Raises:
        ValueError: the gain does not settle.
    """
    K, F, P, settled = predictor_gain(sys)
    if not settled:
        raise ValueError
    rest = sys.P0 - P
    if sys.Pinf.any():
        values, vectors = np.linalg.eigh(sys.Pinf)
        known = vectors[:, values <= 1e-12 * values[-1]]
        rest = known @ (known.T @ rest @ known) @ known.T
    start = as_covariance(rest, sys.P0 + P)
    return None if start is None else with_innovations(sys, K, F, start, sys.Pinf)


def as_covariance(matrix: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """The nearest covariance, in units of the diagonal of `like`; None if rounding does not explain the difference."""
    units = np.sqrt(np.where(np.diag(like) > 0, np.diag(like), 1.0))
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2 / np.outer(units, units))
    if len(values) and values[0] < -_NEGATIVE:
        return None
    root = units[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    return root @ root.T


def varma_of(sys: System) -> VarmaParameters:
    """The VARMA(r, r) with the law of y of a stationary innovations form; r is the observability index, or more
    where so few lags would cost digits.

    C Aʳ = Σ Φᵢ C Aʳ⁻ⁱ, by the solution of least norm, which adds stable roots only; Θⱼ = Ψⱼ − Σ Φᵢ Ψⱼ₋ᵢ with Ψⱼ = C Aʲ⁻¹ K.
    """
    A, C, F = sys.A, sys.C, sys.R
    p, units = sys.p, np.sqrt(np.diag(F))
    K = np.linalg.solve(F, sys.S.T).T
    blocks = [C / units[:, None]]  # in units of the innovations, so that no column's unit decides the rank
    for _ in range(sys.n - 1):
        blocks.append(blocks[-1] @ A)
    enough = _rank(np.vstack(blocks), _RANK)
    shortest = next((r for r in range(1, len(blocks)) if _rank(np.vstack(blocks[:r]), _CLEAR) == enough), len(blocks))
    blocks = blocks[:shortest]
    r = len(blocks)
    observability = np.vstack(blocks)
    phi = np.linalg.lstsq(observability.T, (blocks[-1] @ A).T, rcond=_RANK)[0].T.reshape(p, r, p)
    ar = np.stack([units[:, None] * phi[:, r - i] / units for i in range(1, r + 1)])
    psi = [np.eye(p)]
    power = K
    for _ in range(r):
        psi.append(C @ power)
        power = A @ power
    ma = [psi[j] - sum((ar[i - 1] @ psi[j - i] for i in range(1, j + 1)), np.zeros((p, p))) for j in range(1, r + 1)]
    mean = sys.d + C @ np.linalg.solve(np.eye(sys.n) - A, sys.b)
    return VarmaParameters(ar, np.stack(ma), mean, sys.D, F)


def _rank(observability: np.ndarray, tolerance: float) -> int:
    """Rank of an observability matrix whose states are brought to one size."""
    size = np.linalg.norm(observability, axis=0)
    scaled = observability / np.where(size > 0, size, 1.0)
    return int(np.linalg.matrix_rank(scaled, tol=tolerance * np.sqrt(len(scaled))))


def start_of_schedule(sys: System, gains: np.ndarray, covariances: np.ndarray) -> np.ndarray | None:
    """The P0 with which the innovations form at the last gain has these gains (L, n, p) and covariances (L, p, p); None if there is none.

    The stationary covariance where it fits; else the one that `_solved_start` finds. It has to give the whole schedule back.
    """
    K, F = gains[-1], covariances[-1]
    if len(gains) == 1:
        return np.zeros_like(sys.A)
    stationary = stationary_start(sys.A, K @ F @ K.T)
    if stationary is not None and _has_schedule(sys, stationary[1], gains, covariances):
        return stationary[1]
    found = _solved_start(sys, gains, covariances)
    start = as_covariance(found, np.abs(found) + K @ F @ K.T)
    return start if start is not None and _has_schedule(sys, start, gains, covariances) else None


def _solved_start(sys: System, gains: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Least squares over the first n + 1 steps of K[t] F[t] − K F = A P[t] C' and F[t] − F = C P[t] C', linear in P[0] by
    P[t+1] = A P[t] A' + K F K' − K[t] F[t] K[t]'."""
    A, C, n = sys.A, sys.C, sys.n
    K, F = gains[-1], covariances[-1]
    row, column = np.tril_indices(n)
    basis = np.zeros((len(row), n, n))
    basis[np.arange(len(basis)), row, column] = basis[np.arange(len(basis)), column, row] = 1.0
    known, moved, left, right = np.zeros((n, n)), basis, [], []
    for K_t, F_t in zip(gains[: n + 1], covariances[: n + 1], strict=True):
        both, gap = np.vstack([C, A]), np.vstack([F_t - F, K_t @ F_t - K @ F])
        left.append((both @ moved @ C.T).reshape(len(basis), -1))
        right.append((gap - both @ known @ C.T).ravel())
        moved = A @ moved @ A.T
        known = A @ known @ A.T + K @ F @ K.T - K_t @ F_t @ K_t.T
    found = np.linalg.lstsq(np.hstack(left).T, np.concatenate(right), rcond=1e-13)[0]
    return np.tensordot(found, basis, 1)


def _has_schedule(sys: System, P0: np.ndarray, gains: np.ndarray, covariances: np.ndarray) -> bool:
    """Whether the filter that starts at P0 has these gains and innovation covariances, in units of the observations."""
    A, C, K, F, P = sys.A, sys.C, gains[-1], covariances[-1], P0
    for K_t, F_t in zip(gains, covariances, strict=True):
        have = C @ P @ C.T + F
        units = np.sqrt(np.diag(F_t))
        gain = np.linalg.solve(have, (A @ P @ C.T + K @ F).T).T
        moved = (gain - K_t) * units
        if (
            np.abs((have - F_t) / np.outer(units, units)).max() > _SAME
            or np.abs(moved).max() > _SAME * np.abs(K_t * units).max()
        ):
            return False
        closed, apart = A - gain @ C, K - gain
        # Joseph's form: where P nears zero the difference of two covariances would not.
        P = closed @ P @ closed.T + apart @ F @ apart.T
    return True
