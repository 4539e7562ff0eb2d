"""What a step of every covariance recursion is made of: which entries are seen, correlated errors removed, A P A' + Q by the nonzero entries of A.

Letters as in `statewise.kernels.kalman`.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.known import DENSE_SHARE

SINGULAR_TOLERANCE = 1e-14  # pivots of R, relative to its diagonal


@jit(counted=False)
def decorrelate(C, R, S, seen, k, low, D, Cs, G, cross):
    """For the k entries in `seen`: the unit-lower L and D of R = L D L', C* = L⁻¹ C and G = S L⁻ᵀ D⁻¹."""
    n = C.shape[1]
    for i in range(k):
        for j in range(i + 1):
            total = R[seen[i], seen[j]]
            for h in range(j):
                total -= low[i, h] * low[j, h] * D[h]
            if i == j:
                D[i] = total if total > SINGULAR_TOLERANCE * R[seen[i], seen[i]] else 0.0
            else:
                low[i, j] = total / D[j] if D[j] > 0.0 else 0.0
        for a in range(n):
            value = C[seen[i], a]
            for h in range(i):
                value -= low[i, h] * Cs[h, a]
            Cs[i, a] = value
        if cross:
            for a in range(n):
                value = S[a, seen[i]]
                for h in range(i):
                    value -= low[i, h] * G[a, h] * D[h]
                G[a, i] = value / D[i] if D[i] > 0.0 else 0.0


@jit(counted=False)
def transition(A, Q, Cs, G, D, k, Ab, Qb):
    """Ab = A − G C*, Qb = Q − G D G'."""
    n = A.shape[0]
    for a in range(n):
        for c in range(n):
            move, noise = A[a, c], Q[a, c]
            for i in range(k):
                move -= G[a, i] * Cs[i, c]
                noise -= G[a, i] * D[i] * G[c, i]
            Ab[a, c] = move
            Qb[a, c] = noise


@jit(counted=False)
def nonzeros(A, index, count):
    """List the columns of the nonzero entries of each row: structural models move by very sparse matrices."""
    for a in range(A.shape[0]):
        count[a] = 0
        for b in range(A.shape[1]):
            if A[a, b] != 0.0:
                index[a, count[a]] = b
                count[a] += 1


@jit(fast=True, counted=False)
def sparse_rows(A, index, count, P, out):
    """out = A P by the nonzero entries of A."""
    n = A.shape[0]
    for a in range(n):
        weight, row = (A[a, index[a, 0]], index[a, 0]) if count[a] else (0.0, 0)
        if count[a] == 2:
            other, second = A[a, index[a, 1]], index[a, 1]
            for c in range(n):
                out[a, c] = weight * P[row, c] + other * P[second, c]
            continue
        for c in range(n):
            out[a, c] = weight * P[row, c]
        for k in range(1, count[a]):
            weight, row = A[a, index[a, k]], index[a, k]
            for c in range(n):
                out[a, c] += weight * P[row, c]


@jit(fast=True, counted=False)
def sandwich(A, index, count, P, Q, work, out):
    """out = A P A' + Q for symmetric P and Q, by the nonzero entries of A; `out` may be P, but not Q."""
    n = A.shape[0]
    sparse_rows(A, index, count, P, work)
    for a in range(n):
        for c in range(n):
            out[c, a] = work[a, c]
    sparse_rows(A, index, count, out, work)
    for a in range(n):
        for c in range(a + 1):
            total = work[a, c] + Q[a, c]
            out[a, c] = total
            out[c, a] = total


@jit(counted=False)
def any_nonzero(S):
    for a in range(S.shape[0]):
        for b in range(S.shape[1]):
            if S[a, b] != 0.0:
                return True
    return False


@jit(counted=False)
def diagonal(P, out):
    for a in range(P.shape[0]):
        out[a] = P[a, a]


@jit(counted=False)
def copy(source, out):
    for a in range(source.shape[0]):
        for b in range(source.shape[1]):
            out[a, b] = source[a, b]


@jit(fast=True, inline=True, counted=False)
def see(y, t, seen, k_before):
    """List the observed entries of row t in `seen`. Returns how many, and whether they differ from those listed before."""
    k, changed = 0, False
    for j in range(y.shape[1]):
        if not np.isnan(y[t, j]):
            changed = changed or k >= k_before or seen[k] != j
            seen[k] = j
            k += 1
    return k, changed or k != k_before


@jit(counted=False)
def store_moments(m, P, mean, cov, t):
    for a in range(m.shape[0]):
        mean[t, a] = m[a]
        for b in range(m.shape[0]):
            cov[t, a, b] = P[a, b]


@jit(fast=True, inline=True, counted=False)
def move_mean(At, G, offset, t, ys, k, cross, m, moved):
    """m ← Ab m + offset + G y*, with At = Ab'."""
    n = m.shape[0]
    row = t if offset.shape[0] > 1 else 0
    for a in range(n):
        moved[a] = offset[row, a]
    for b in range(n):
        weight = m[b]
        if weight != 0.0:
            for a in range(n):
                moved[a] += weight * At[b, a]
    if cross:
        for i in range(k):
            for a in range(n):
                moved[a] += G[a, i] * ys[i]
    for a in range(n):
        m[a] = moved[a]


@jit(counted=False)
def list_nonzeros(A, index, count):
    """As `nonzeros`. Returns whether A is dense."""
    nonzeros(A, index, count)
    n, total = A.shape[0], 0
    for a in range(n):
        total += count[a]
    return total > DENSE_SHARE * n * n


@jit(counted=False)
def list_moves(Ab, index, count, At):
    """Fill the nonzero entries of Ab and its transpose At. Returns whether Ab is dense."""
    for a in range(Ab.shape[0]):
        for b in range(Ab.shape[0]):
            At[b, a] = Ab[a, b]
    return list_nonzeros(Ab, index, count)
