"""One step of the Kalman filter from a known (not diffuse) prediction, by plain loops for few states and by BLAS for many.

Source: Durbin & Koopman, *Time Series Analysis by State Space Methods*, 2nd ed. (2012), §6.4 (one entry at a time). Letters as in
`statewise.kernels.kalman`. An entry with gain g = P c and variance F is learnt by u = g/√F and z = error/√F: m + u z, P − u u', which
leaves P exactly symmetric.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import gemm, jit

LOG_2PI = math.log(2.0 * math.pi)
DEGENERATE_TOLERANCE = 1e-14  # F relative to the terms that it is the remainder of: below, no digit is left;
LOSS_TOLERANCE = 1e-8  # below, fewer than half are
LOST, DEGENERATE = 1, 2  # codes of these
BLAS_SIZE = 8  # states, from which on a product by BLAS takes less time than plain loops
DENSE_SHARE = 0.4  # of nonzero entries in A, from which on its zeros are not looked for


@jit(fast=True, inline=True, counted=False)
def row_products(rows, k, M, Mt, out):
    """out[i] = M rows[i] for the first k rows, with Mt = M'; the zeros of a single row are not multiplied."""
    n = M.shape[0]
    if n < BLAS_SIZE:
        for i in range(k):
            for a in range(n):
                total = 0.0
                for b in range(n):
                    total += M[a, b] * rows[i, b]
                out[i, a] = total
    elif k > 1:
        gemm(rows[:k], Mt, out[:k])
    elif k == 1:
        for a in range(n):
            out[0, a] = 0.0
        for b in range(n):
            weight = rows[0, b]
            if weight != 0.0:
                for a in range(n):
                    out[0, a] += weight * Mt[b, a]


@jit(fast=True, inline=True, counted=False)
def _take_off(u, ut, k, P, work):
    """P ← P − Σ u_i u_i' over the first k rows of u (p, n). ut (n, p) and work (n, n) are room to work in."""
    n = P.shape[0]
    if n < BLAS_SIZE:
        for a in range(n):
            for b in range(a + 1):
                total = P[a, b]
                for i in range(k):
                    total -= u[i, a] * u[i, b]
                P[a, b] = total
                P[b, a] = total
        return
    if k == 1:
        for a in range(n):
            weight = u[0, a]
            for b in range(n):
                P[a, b] -= weight * u[0, b]
        return
    for i in range(u.shape[0]):
        for a in range(n):
            ut[a, i] = u[i, a] if i < k else 0.0
    gemm(ut, u, work)
    for a in range(n):
        for b in range(n):
            P[a, b] -= work[a, b]


@jit(fast=True, inline=True, counted=False)
def _dot(X, i, Z, j):
    """X[i]'Z[j] in four partial sums, which a processor can add at the same time."""
    n, a = X.shape[1], 0
    one, two, three, four = 0.0, 0.0, 0.0, 0.0
    while a + 4 <= n:
        one += X[i, a] * Z[j, a]
        two += X[i, a + 1] * Z[j, a + 1]
        three += X[i, a + 2] * Z[j, a + 2]
        four += X[i, a + 3] * Z[j, a + 3]
        a += 4
    while a < n:
        one += X[i, a] * Z[j, a]
        a += 1
    return (one + two) + (three + four)


@jit(fast=True, inline=True, counted=False)
def learn_known(y, t, seen, k, low, D, Cs, ys, m, P, size, u, ut, z, sd, work):
    """Learn the k entries `seen` of row t. Returns their log density, −½ Σ log 2πF alone, and a code: DEGENERATE an entry was, LOST
    one lost digits, 0 neither.

    Out: u (p, n), the scaled gain of each entry, z (p,), its scaled error, and sd (p,), √F; all zero for an entry that is degenerate.
    ut (n, p) and work (n, n) are room to work in; u is finite on entry.
    """
    n = m.shape[0]
    squares, product, logs, code = 0.0, 1.0, 0.0, 0
    for a in range(n):
        size[a] = P[a, a]
    row_products(Cs, k, P, P, u)
    for i in range(k):
        value = y[t, seen[i]]
        for h in range(i):
            value -= low[i, h] * ys[h]
        ys[i] = value
        for h in range(i):
            along = _dot(u, h, Cs, i)
            if along != 0.0:
                for a in range(n):
                    u[i, a] -= along * u[h, a]
        error, scale = value, D[i]
        for a in range(n):
            weight = Cs[i, a]
            error -= weight * m[a]
            scale += weight * weight * size[a]
        F = D[i] + _dot(u, i, Cs, i)
        if not DEGENERATE_TOLERANCE * scale < F:
            code = DEGENERATE
            z[i], sd[i] = 0.0, 0.0
            for a in range(n):
                u[i, a] = 0.0
            continue
        if LOSS_TOLERANCE * scale > F:
            code = max(code, LOST)
        inverse = 1.0 / math.sqrt(F)
        z_i = error * inverse
        z[i], sd[i] = z_i, F * inverse
        squares += z_i * z_i
        product *= F
        if not 1e-100 < product < 1e100:
            logs += math.log(product)
            product = 1.0
        for a in range(n):
            u[i, a] *= inverse
            m[a] += u[i, a] * z_i
    _take_off(u, ut, k, P, work)
    constant = -0.5 * (k * LOG_2PI + logs + math.log(product))
    if code == DEGENERATE:
        return -np.inf, -np.inf, code
    return constant - 0.5 * squares, constant, code


@jit(fast=True, inline=True, counted=False)
def multiply(X, Y, out):
    """out = X Y; `out` is neither of them."""
    if X.shape[0] >= BLAS_SIZE:
        gemm(X, Y, out)
        return
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            total = 0.0
            for c in range(X.shape[1]):
                total += X[a, c] * Y[c, b]
            out[a, b] = total


@jit(fast=True, inline=True, counted=False)
def dense_sandwich(A, At, P, Q, work, out):
    """out = A P A' + Q for symmetric P and Q, with At = A'; `out` may be P."""
    n = A.shape[0]
    multiply(A, P, work)
    if n < BLAS_SIZE:
        for a in range(n):
            for c in range(a + 1):
                total = Q[a, c]
                for b in range(n):
                    total += work[a, b] * A[c, b]
                out[a, c] = total
                out[c, a] = total
        return
    gemm(work, At, out)
    for a in range(n):
        out[a, a] += Q[a, a]
        for c in range(a):
            total = 0.5 * (out[a, c] + out[c, a]) + Q[a, c]
            out[a, c] = total
            out[c, a] = total
