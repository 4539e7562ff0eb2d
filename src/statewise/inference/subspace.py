"""A state-space system from autocovariances alone, by canonical correlations of the past with the future.

With past p[t] = (y[t−1], …, y[t−L]) and future f[t] = (y[t], …, y[t+L−1]), the singular values of Γf^−½ Cov(f, p) Γp^−½ = U S V' give the state
x[t] = S^½ V' Γp^−½ p[t], the n combinations of the past that say most about the future. Regressing (x[t+1], y[t]) on x[t] gives A, C and the joint
covariance of the noises, all of them from Γ(0), …, Γ(2 L) (Larimore, *IEEE Conf. Decision and Control*, 1990; Katayama, *Subspace Methods for System
Identification*, 2005, ch. 8).
"""

from __future__ import annotations

import numpy as np

from statewise.inference.system import System, stationary_start, system
from statewise.sequences.sequences import Sequences

_LEAST = 1e-10  # of the largest eigenvalue: gaps in the data may leave the covariance of past and future indefinite, and it is lifted to this
_LARGEST_RADIUS = 0.999


def autocovariances(seqs: Sequences, mean: np.ndarray, lags: int) -> np.ndarray:
    """Γ(h) = Cov(y[t+h], y[t]) for h = 0 … lags, (lags + 1, p, p), pooled over sequences.

    Sums over the pairs that are seen are divided by that share of the rows of which pairs are seen: of complete data that is the biased estimate,
    whose Toeplitz matrix is positive semi-definite.
    """
    centred = seqs.values - mean
    seen = ~np.isnan(centred)
    filled = np.where(seen, centred, 0.0)
    step = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
    result = np.empty((lags + 1, seqs.dim, seqs.dim))
    for h in range(lags + 1):
        later = np.flatnonzero(step >= h)
        pairs = seen[later].T.astype(float) @ seen[later - h]
        share = np.where(pairs > 0, pairs / max(len(later), 1), 1.0)
        result[h] = filled[later].T @ filled[later - h] / share / seqs.rows
    return result


def subspace_system(seqs: Sequences, states: int, lags: int) -> System:
    """The system of `states` states in the data's units, its start the stationary law; Cov(w, v) is not zero."""
    p = seqs.dim
    mean = np.nanmean(seqs.values, axis=0)
    units = np.nanstd(seqs.values, axis=0)
    units = np.where(units > 0, units, 1.0)
    gamma = autocovariances(seqs, mean, 2 * lags) / units[:, None] / units
    whole = _toeplitz(gamma)  # of (y[t+L−1], …, y[t], …, y[t−L]): the future, and the past of t
    future, past, shifted = slice(0, lags * p), slice(lags * p, 2 * lags * p), slice((lags - 1) * p, (2 * lags - 1) * p)
    now = slice((lags - 1) * p, lags * p)
    left, right = _inverse_root(whole[future, future]), _inverse_root(whole[past, past])
    _, s, Vt = np.linalg.svd(left @ whole[future, past] @ right)
    weights = np.sqrt(s[:states])[:, None] * (Vt[:states] @ right)
    X = weights @ whole[past, past] @ weights.T
    onto = np.vstack([weights @ whole[shifted, past] @ weights.T, whole[now, past] @ weights.T])
    both = np.linalg.solve(X, onto.T).T
    A, C = both[:states], both[states:]
    ends = np.vstack([weights @ whole[shifted], whole[now]])
    joint = np.block([[ends[:, shifted] @ weights.T, ends[:, now]]]) - both @ X @ both.T
    values, vectors = np.linalg.eigh(0.5 * (joint + joint.T))
    joint = (vectors * np.maximum(values, 0.0)) @ vectors.T
    radius = float(np.abs(np.linalg.eigvals(A)).max())
    A = A * min(1.0, _LARGEST_RADIUS / radius) if radius > 0 else A
    Q, S, R = joint[:states, :states], joint[:states, states:] * units, joint[states:, states:] * units[:, None] * units
    start = stationary_start(A, Q)
    assert start is not None  # the radius is below one
    return system(A, C * units[:, None], Q, R, *start, S=S, d=mean)


def _toeplitz(gamma: np.ndarray) -> np.ndarray:
    """The covariance of (y[k], …, y[0]) from Γ(0 … k), positive semi-definite."""
    count, p = gamma.shape[:2]
    size = count - 1
    whole = np.empty((size, p, size, p))
    for i in range(size):
        for j in range(size):
            whole[i, :, j] = gamma[j - i] if j >= i else gamma[i - j].T
    flat = whole.reshape(size * p, size * p)
    values, vectors = np.linalg.eigh(0.5 * (flat + flat.T))
    least = _LEAST * values[-1]
    return flat if values[0] >= least else np.asarray((vectors * np.maximum(values, least)) @ vectors.T)


def _inverse_root(cov: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(cov)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
