"""The gain K and the closed loop L = A − K C of one step, and products with L by its parts, so that the zeros of A are not multiplied.

Letters as in `statewise.kernels.smoother`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.known import multiply, row_products
from statewise.kernels.step import list_nonzeros, sparse_rows

PIVOT_TOLERANCE = 1e-14  # of F, relative to its diagonal: below, it is singular


class Loop(NamedTuple):
    """The closed loop of one step: `seen`, the entries that are; K, L and F⁻¹; A, A' and where that is not zero; N L, and room to work in."""

    seen: np.ndarray
    K: np.ndarray
    L: np.ndarray
    Finv: np.ndarray
    A: np.ndarray
    At: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    dense: bool
    NL: np.ndarray
    KN: np.ndarray
    work: np.ndarray
    CP: np.ndarray
    cross: np.ndarray
    F: np.ndarray
    low: np.ndarray


@jit
def new_loop(A, p):
    """Room for the steps of a system with the transition A and p entries."""
    n = A.shape[0]
    At, columns, counts = np.ascontiguousarray(A.T), np.empty((n, n), np.int64), np.empty(n, np.int64)
    dense = list_nonzeros(At, columns, counts)
    return Loop(
        np.empty(p, np.int64), np.empty((n, p)), np.empty((n, n)), np.empty((p, p)), A, At, columns, counts, dense, np.empty((n, n)),
        np.empty((p, n)), np.empty((n, n)), np.empty((p, n)), np.empty((p, n)), np.empty((p, p)), np.zeros((p, p)),
    )  # fmt: skip


@jit(counted=False)
def _invert(F, k, low, out):
    """out = F⁻¹ by Cholesky for the leading k × k block. Returns False if it is not positive definite to working accuracy."""
    for i in range(k):
        for j in range(i + 1):
            total = F[i, j]
            for h in range(j):
                total -= low[i, h] * low[j, h]
            if i == j:
                if not total > PIVOT_TOLERANCE * F[i, i]:
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
def gain(C, R, S, P, k, loop):
    """K = (A P C' + S) F⁻¹ and L = A − K C for the k entries that are seen. Returns False if F is singular."""
    n, A, seen, CP, cross, F = C.shape[1], loop.A, loop.seen, loop.CP, loop.cross, loop.F
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
    if not _invert(F, k, loop.low, loop.Finv):
        return False
    row_products(CP, k, A, loop.At, cross)
    for i in range(k):
        for a in range(n):
            cross[i, a] += S[a, seen[i]]
    for a in range(n):
        for b in range(n):
            loop.L[a, b] = A[a, b]
        for j in range(k):
            gain = 0.0
            for i in range(k):
                gain += cross[i, a] * loop.Finv[i, j]
            loop.K[a, j] = gain
            for b in range(n):
                loop.L[a, b] -= gain * C[seen[j], b]
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
def _gain_times(K, k, X, out):
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
def _loop_times(C, k, X, KX, loop, out):
    """out = L' X = A' X − C' (K' X), from KX = K' X and the nonzero entries of A'."""
    n = X.shape[0]
    if loop.dense:
        multiply(loop.At, X, out)
    else:
        sparse_rows(loop.At, loop.columns, loop.counts, X, out)
    for i in range(k):
        for a in range(n):
            weight = C[loop.seen[i], a]
            if weight != 0.0:
                for b in range(n):
                    out[a, b] -= weight * KX[i, b]


@jit(fast=True, counted=False)
def times_loop(C, k, N, loop):
    """loop.NL = N L for a symmetric N."""
    _gain_times(loop.K, k, N, loop.KN)
    _loop_times(C, k, N, loop.KN, loop, loop.work)
    for a in range(N.shape[0]):
        for b in range(N.shape[0]):
            loop.NL[b, a] = loop.work[a, b]


@jit(fast=True, counted=False)
def information_before(C, k, N, loop):
    """N ← C' F⁻¹ C + L' N L, from N L."""
    n = N.shape[0]
    _gain_times(loop.K, k, loop.NL, loop.KN)
    for i in range(k):
        for j in range(k):
            for a in range(n):
                loop.KN[i, a] -= loop.Finv[i, j] * C[loop.seen[j], a]
    _loop_times(C, k, loop.NL, loop.KN, loop, loop.work)
    for a in range(n):
        for b in range(a + 1):
            N[a, b] = 0.5 * (loop.work[a, b] + loop.work[b, a])
            N[b, a] = N[a, b]
