"""How fast a hidden Markov model's belief forgets along data. Letters as in `kernels.hmm`."""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit

LEAST = 5e-324  # the smallest positive double


@jit(fast=True)
def _step_ahead(P, a, f):
    """f = Pᵀ a, four rows of P at a time so that f is loaded and stored a quarter as often."""
    K = a.shape[0]
    whole = K - K % 4
    for j in range(K):
        f[j] = 0.0
    for i in range(0, whole, 4):
        w0, w1, w2, w3 = a[i], a[i + 1], a[i + 2], a[i + 3]
        for j in range(K):
            f[j] += (w0 * P[i, j] + w1 * P[i + 1, j]) + (w2 * P[i + 2, j] + w3 * P[i + 3, j])
    for i in range(whole, K):
        weight = a[i]
        for j in range(K):
            f[j] += weight * P[i, j]


@jit
def _spread(u, f):
    """max − min of u over the states that f can be in."""
    low, high = np.inf, -np.inf
    for k in range(u.shape[0]):
        if f[k] > 0.0:
            low, high = min(low, u[k]), max(high, u[k])
    return high - low


@jit
def forgetting(P, filtered, predicted, offsets):
    """Σ log growth of a small error in the log-belief, and the number of steps that it is summed over.

    With z = log a up to a constant, ∂z[t+1, k] = Σ_i B[k, i] ∂z[t, i], B[k, i] = a[i] P[i, k] / f[k]: the chance that the
    chain was in i given that it is in k next. The growth is that of max − min, which the constant leaves alone. Errors
    are taken relative to the likeliest state, so that a very certain belief costs no digits. An error that vanishes
    counts as the smallest number and starts afresh. P (1, K, K) for all rows, or (rows, K, K) from each row to the next.
    """
    K = P.shape[1]
    growth, count = 0.0, 0
    u, v = np.empty(K), np.empty(K)
    for n in range(offsets.shape[0] - 1):
        spread = 0.0
        for t in range(offsets[n] + 1, offsets[n + 1]):
            a, f = filtered[t - 1], predicted[t]
            if not spread > 0.0:
                for k in range(K):
                    u[k] = math.sin((k + 1.0) ** 2)
                spread = _spread(u, predicted[t - 1])
            scale = 1.0 / spread if spread > 0.0 else 1.0
            centre = u[np.argmax(a)]
            for k in range(K):
                v[k] = a[k] * (u[k] - centre) * scale
            _step_ahead(P[(t - 1) % P.shape[0]], v, u)
            for k in range(K):
                u[k] = u[k] / f[k] if f[k] > 0.0 else 0.0
            spread = _spread(u, f)
            growth += math.log(max(spread, LEAST))
            count += 1
    return growth, count
