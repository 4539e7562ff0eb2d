"""One step of the Kalman filter from a known (not diffuse) prediction, arranged so that every inner loop runs along a row.

Source: Durbin & Koopman, *Time Series Analysis by State Space Methods*, 2nd ed. (2012), §6.4 (one entry at a time). Letters as in
`statewise.kernels.kalman`. An entry with gain g = P c and variance F is learnt by u = g/√F and z = error/√F: m + u z, P − u u', which
leaves P exactly symmetric.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit

LOG_2PI = math.log(2.0 * math.pi)
DEGENERATE_TOLERANCE = 1e-14  # F relative to the terms that it is the remainder of
DENSE_SHARE = 0.4  # of nonzero entries in A, from which on its zeros are not looked for


@jit(fast=True)
def learn_known(y, t, seen, k, low, D, Cs, ys, m, P, size, gain, u, z, sd):
    """Learn the k entries `seen` of row t. Returns their log density, −½ Σ log 2πF alone, and whether an entry was degenerate.

    Out: u (p, n), the scaled gain of each entry, z (p,), its scaled error, and sd (p,), √F; all zero for an entry that is degenerate.
    """
    n = m.shape[0]
    squares, product, logs, degenerate = 0.0, 1.0, 0.0, False
    for a in range(n):
        size[a] = P[a, a]
    for i in range(k):
        value = y[t, seen[i]]
        for h in range(i):
            value -= low[i, h] * ys[h]
        ys[i] = value
        for b in range(n):
            gain[b] = 0.0
        error, F, scale = value, D[i], D[i]
        for a in range(n):
            weight = Cs[i, a]
            if weight != 0.0:
                for b in range(n):
                    gain[b] += weight * P[a, b]
                error -= weight * m[a]
                scale += weight * weight * size[a]
        for a in range(n):
            F += Cs[i, a] * gain[a]
        if not DEGENERATE_TOLERANCE * scale < F:
            degenerate = True
            z[i], sd[i] = 0.0, 0.0
            for a in range(n):
                u[i, a] = 0.0
            continue
        inverse = 1.0 / math.sqrt(F)
        z_i = error * inverse
        z[i], sd[i] = z_i, F * inverse
        squares += z_i * z_i
        product *= F
        if not 1e-100 < product < 1e100:
            logs += math.log(product)
            product = 1.0
        for a in range(n):
            gain[a] *= inverse
            u[i, a] = gain[a]
            m[a] += gain[a] * z_i
        for a in range(n):
            weight = gain[a]
            for b in range(n):
                P[a, b] -= weight * gain[b]
    constant = -0.5 * (k * LOG_2PI + logs + math.log(product))
    if degenerate:
        return -np.inf, -np.inf, True
    return constant - 0.5 * squares, constant, False


@jit(fast=True)
def _add_products(weights, a, rows, start, out):
    """out[a, start:] += Σ_b weights[a, b] rows[b, start:], four rows at a time."""
    n = out.shape[0]
    b = 0
    while b + 4 <= n:
        w0, w1, w2, w3 = weights[a, b], weights[a, b + 1], weights[a, b + 2], weights[a, b + 3]
        for c in range(start, n):
            out[a, c] += (w0 * rows[b, c] + w1 * rows[b + 1, c]) + (w2 * rows[b + 2, c] + w3 * rows[b + 3, c])
        b += 4
    while b < n:
        w0 = weights[a, b]
        for c in range(start, n):
            out[a, c] += w0 * rows[b, c]
        b += 1


@jit(fast=True)
def dense_sandwich(A, At, P, Q, work, out):
    """out = A P A' + Q for symmetric P and Q, with At = A'; `out` may be P."""
    n = A.shape[0]
    for a in range(n):
        for c in range(n):
            work[a, c] = 0.0
        _add_products(A, a, P, 0, work)
    for a in range(n):
        for c in range(a, n):
            out[a, c] = Q[a, c]
        _add_products(work, a, At, a, out)
    for a in range(n):
        for c in range(a + 1, n):
            out[c, a] = out[a, c]
