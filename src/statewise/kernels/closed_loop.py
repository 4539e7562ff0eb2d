"""The gain K and the closed loop L = A − K C of one step, and products with L by its parts, so that the zeros of A are not multiplied.

Letters as in `statewise.kernels.smoother`.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.known import multiply, row_products
from statewise.kernels.step import sparse_rows


@jit(counted=False)
def _invert(F, k, low, out):
    """out = F⁻¹ by Cholesky for the leading k × k block. Returns False if it is not positive definite to working accuracy."""
    for i in range(k):
        for j in range(i + 1):
            total = F[i, j]
            for h in range(j):
                total -= low[i, h] * low[j, h]
            if i == j:
                if not total > 1e-14 * F[i, i]:
                    return False
                low[i, i] = np.sqrt(total)
            else:
                low[i, j] = total / low[j, j]
    for column in range(k):
        for i in range(k):
            total = 1.0 if i == column else 0.0
            for h in range(i):
                total -= low[i, h] * out[h, column]
            out[i, column] = total / low[i, i]
        for i in range(k - 1, -1, -1):
            total = out[i, column]
            for h in range(i + 1, k):
                total -= low[h, i] * out[h, column]
            out[i, column] = total / low[i, i]
    return True


@jit(fast=True, counted=False)
def gain(A, At, C, R, S, P, seen, k, CP, cross, F, low, Finv, K, L):
    """K = (A P C' + S) F⁻¹ and L = A − K C for the k entries in `seen`. Returns False if F is singular. CP and cross are (p, n) work space."""
    n = A.shape[0]
    for i in range(k):
        for b in range(n):
            CP[i, b] = 0.0
        for a in range(n):
            weight = C[seen[i], a]
            for b in range(n):
                CP[i, b] += weight * P[a, b]
    for i in range(k):
        for j in range(k):
            total = R[seen[i], seen[j]]
            for a in range(n):
                total += C[seen[i], a] * CP[j, a]
            F[i, j] = total
    if not _invert(F, k, low, Finv):
        return False
    row_products(CP, k, A, At, cross)
    for i in range(k):
        for a in range(n):
            cross[i, a] += S[a, seen[i]]
    for a in range(n):
        for b in range(n):
            L[a, b] = A[a, b]
        for j in range(k):
            gain = 0.0
            for i in range(k):
                gain += cross[i, a] * Finv[i, j]
            K[a, j] = gain
            for b in range(n):
                L[a, b] -= gain * C[seen[j], b]
    return True


@jit(counted=False)
def observed(y, t, seen):
    """List the observed entries of row t in `seen`, and return how many they are."""
    k = 0
    for j in range(y.shape[1]):
        if not np.isnan(y[t, j]):
            seen[k] = j
            k += 1
    return k


@jit(fast=True, counted=False)
def gain_times(K, k, X, out):
    """out = K' X, for the k entries that are seen."""
    n = X.shape[0]
    for i in range(k):
        for b in range(n):
            out[i, b] = 0.0
        for a in range(n):
            weight = K[a, i]
            for b in range(n):
                out[i, b] += weight * X[a, b]


@jit(fast=True, counted=False)
def loop_times(At, index, count, dense, C, seen, k, X, KX, out):
    """out = L' X = A' X − C' (K' X), from KX = K' X and the nonzero entries of A'."""
    n = At.shape[0]
    if dense:
        multiply(At, X, out)
    else:
        sparse_rows(At, index, count, X, out)
    for i in range(k):
        for a in range(n):
            weight = C[seen[i], a]
            if weight != 0.0:
                for b in range(n):
                    out[a, b] -= weight * KX[i, b]


@jit(fast=True, counted=False)
def symmetric(N, X):
    """N ← the symmetric part of X."""
    for a in range(N.shape[0]):
        for b in range(a + 1):
            N[a, b] = 0.5 * (X[a, b] + X[b, a])
            N[b, a] = N[a, b]
