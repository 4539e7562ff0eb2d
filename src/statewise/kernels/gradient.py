"""The exact gradient of the log-likelihood: the backward pass of the Kalman smoother, in blocks of rows.

Letters and equations as in `statewise.kernels.smoother`. Of a row's work only r and N depend on the row after it. What does not, the gains,
is worked out for all rows of a block side by side (one row of an array is one coordinate of all of them); what the two leave behind is
kept for the block, and the sums over it are products of matrices. With X = L'N and Y = C' F⁻¹ − X K,
    N ← X A + Y C,    ∂/∂A = Σ r x̂' − (P X)',    ∂/∂C = Σ e x̂' − (P Y)',
and Σ P [X Y] of a block is one product. A missing entry has zeros in F⁻¹, and so in K, e and Y.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import gemm, jit
from statewise.kernels.known import BLAS_SIZE
from statewise.kernels.score import add_sums
from statewise.kernels.step import list_nonzeros, sparse_rows

NUMBERS = 40_000  # that a block of rows works on: they stay in the second cache
LEAST, MOST = 16, 256  # rows of a block


class Fixed(NamedTuple):
    """The system, and what of it every block uses."""

    A: np.ndarray
    C: np.ndarray
    R: np.ndarray
    S: np.ndarray
    At: np.ndarray
    Ct: np.ndarray
    AC: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    dense: bool


class Sums(NamedTuple):
    """Gradients, added to."""

    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    S: np.ndarray
    b: np.ndarray
    d: np.ndarray


class _Tables(NamedTuple):
    """What a block of B rows works in: p entries, n states."""

    seen: np.ndarray
    CP: np.ndarray
    PC: np.ndarray
    APC: np.ndarray
    F: np.ndarray
    root: np.ndarray
    Finv: np.ndarray
    K: np.ndarray
    NK: np.ndarray
    Z: np.ndarray
    v: np.ndarray
    Fv: np.ndarray
    rex: np.ndarray
    work: np.ndarray
    other: np.ndarray
    more: np.ndarray
    sums: np.ndarray
    PZ: np.ndarray
    D: np.ndarray


@jit
def _fixed(A, C, R, S):
    n = A.shape[0]
    At, Ct = np.ascontiguousarray(A.T), np.ascontiguousarray(C.T)
    columns, counts = np.empty((n, n), np.int64), np.empty(n, np.int64)
    dense = list_nonzeros(At, columns, counts)
    return Fixed(A, C, R, S, At, Ct, np.concatenate((A, C)), columns, counts, dense)


@jit
def _tables(n, p, rows):
    return _Tables(
        np.empty((p, rows)), np.empty((rows * n, p)), np.empty((n, p * rows)), np.empty((n, p * rows)), np.empty((p, p, rows)),
        np.empty((p, p, rows)), np.empty((p, p, rows)), np.empty((rows, n, p)), np.empty((rows, n, p)), np.empty((rows, n, n + p)),
        np.empty((p, rows)), np.empty((p, rows)), np.empty((1 + n + p + n, rows + 1)), np.empty((n, n)), np.empty((n, n)), np.empty((n, p)),
        np.empty((n + p, 1 + n + p + n)), np.empty((n, n + p)), np.empty((p, p)),
    )  # fmt: skip


@jit(fast=True, counted=False)
def _innovation_covs(y, low, C, R, t):
    """F of each row, with ones for the entries that are missing."""
    p, rows = t.seen.shape
    n = C.shape[1]
    for j in range(p):
        for c in range(rows):
            t.seen[j, c] = 0.0 if np.isnan(y[low + c, j]) else 1.0
    for i in range(p):
        for j in range(i + 1):
            for c in range(rows):
                t.F[i, j, c] = R[i, j]
            for a in range(n):
                weight = C[i, a]
                if weight != 0.0:
                    for c in range(rows):
                        t.F[i, j, c] += weight * t.PC[a, j * rows + c]
            for c in range(rows):
                both = t.seen[i, c] * t.seen[j, c]
                t.F[i, j, c] = t.F[i, j, c] * both + (1.0 - both if i == j else 0.0)


@jit(fast=True, counted=False)
def _invert(t):
    """F⁻¹ of each row by Cholesky, with zeros for the entries that are missing. Returns False if one is not positive definite to working accuracy."""
    p, rows = t.seen.shape
    F, root, Finv = t.F, t.root, t.Finv
    singular = 0
    for i in range(p):
        for c in range(rows):
            Finv[i, i, c] = F[i, i, c]
        for j in range(i + 1):
            for h in range(j):
                for c in range(rows):
                    F[i, j, c] -= F[i, h, c] * F[j, h, c]
            if j < i:
                for c in range(rows):
                    F[i, j, c] *= F[j, j, c]
        for c in range(rows):
            pivot = F[i, i, c]
            singular += 0 if pivot > 1e-14 * Finv[i, i, c] else 1
            F[i, i, c] = 1.0 / np.sqrt(pivot)  # the root's reciprocal
    if singular > 0:
        return False
    for i in range(p):
        for j in range(i + 1):
            for c in range(rows):
                root[i, j, c] = t.seen[i, c] * F[i, i, c] if i == j else 0.0
            for h in range(j, i):
                for c in range(rows):
                    root[i, j, c] -= F[i, h, c] * root[h, j, c]
            if j < i:
                for c in range(rows):
                    root[i, j, c] *= F[i, i, c]
    for i in range(p):
        for j in range(i + 1):
            for c in range(rows):
                Finv[i, j, c] = 0.0
            for h in range(i, p):
                for c in range(rows):
                    Finv[i, j, c] += root[h, i, c] * root[h, j, c]
            if j < i:
                for c in range(rows):
                    Finv[j, i, c] = Finv[i, j, c]
    return True


@jit(fast=True, counted=False)
def _gains(y, low, f, P, t):
    """F⁻¹, K = (A P C' + S) F⁻¹ and C' F⁻¹ (in the place of Y) of each row. Returns False if an F is singular."""
    p, rows = t.seen.shape
    n = f.A.shape[0]
    gemm(P, f.Ct, t.CP)
    for a in range(n):
        for j in range(p):
            for c in range(rows):
                t.PC[a, j * rows + c] = t.CP[c * n + a, j]
    _innovation_covs(y, low, f.C, f.R, t)
    if not _invert(t):
        return False
    gemm(f.A, t.PC, t.APC)
    gain = t.v[0]
    for a in range(n):
        for j in range(p):
            for c in range(rows):
                gain[c] = 0.0
            for i in range(p):
                cross = f.S[a, i]
                for c in range(rows):
                    gain[c] += (t.APC[a, i * rows + c] + cross) * t.Finv[i, j, c]
            for c in range(rows):
                t.K[c, a, j] = gain[c]
                gain[c] = 0.0
            for i in range(p):
                weight = f.C[i, a]
                if weight != 0.0:
                    for c in range(rows):
                        gain[c] += weight * t.Finv[i, j, c]
            for c in range(rows):
                t.Z[c, a, n + j] = gain[c]
    return True


@jit(fast=True, inline=True, counted=False)
def _row_of_few(f, t, c, N, gQ, gS):
    """[X Y] and N K of one row, and the N before it, by plain loops. Adds to the gradients in Q and S."""
    n, p = t.K.shape[1], t.K.shape[2]
    K, Z, NK = t.K, t.Z, t.NK
    for b in range(n):
        for i in range(p):
            total = 0.0
            for a in range(n):
                total += N[b, a] * K[c, a, i]
            NK[c, b, i] = total
            gS[b, i] += total
    for a in range(n):
        for b in range(n):
            total = 0.0
            for h in range(n):
                total += f.A[h, a] * N[h, b]
            for i in range(p):
                total -= f.C[i, a] * NK[c, b, i]
            Z[c, a, b] = total
    for a in range(n):
        for i in range(p):
            total = 0.0
            for b in range(n):
                total += Z[c, a, b] * K[c, b, i]
            Z[c, a, n + i] -= total
    for a in range(n):
        for b in range(a + 1):
            gQ[a, b] -= 0.5 * N[a, b]
            total = 0.0
            for h in range(n + p):
                total += Z[c, a, h] * f.AC[h, b]
            N[a, b] = total
            N[b, a] = total


@jit(fast=True, counted=False)
def _row_of_many(f, t, c, N, gQ, gS):
    """As `_row_of_few`, by BLAS and the nonzero entries of A."""
    n, p = t.K.shape[1], t.K.shape[2]
    K, Z, NK, X, other = t.K[c], t.Z, t.NK[c], t.work, t.other
    gemm(N, K, NK)
    if f.dense:
        gemm(f.At, N, X)
    else:
        sparse_rows(f.At, f.columns, f.counts, N, X)
    for b in range(n):
        for i in range(p):
            gS[b, i] += NK[b, i]
    if p > 1:
        gemm(f.Ct, NK.T, other)
        for a in range(n):
            for b in range(n):
                X[a, b] -= other[a, b]
    else:
        for a in range(n):
            weight = f.C[0, a]
            if weight != 0.0:
                for b in range(n):
                    X[a, b] -= weight * NK[b, 0]
    gemm(X, K, t.more)
    for a in range(n):
        for b in range(n):
            Z[c, a, b] = X[a, b]
        for i in range(p):
            Z[c, a, n + i] -= t.more[a, i]
    if f.dense:
        gemm(Z[c], f.AC, other)
    else:
        for a in range(n):
            for b in range(n):
                other[b, a] = X[a, b]
        sparse_rows(f.At, f.columns, f.counts, other, X)
        if p > 1:
            for a in range(n):
                for i in range(p):
                    t.more[a, i] = Z[c, a, n + i]
            gemm(f.Ct, t.more.T, other)
            for a in range(n):
                for b in range(n):
                    X[a, b] += other[a, b]
        else:
            for a in range(n):
                weight = f.C[0, a]
                if weight != 0.0:
                    for b in range(n):
                        X[a, b] += weight * Z[c, b, n]
        other = X
    for a in range(n):
        for b in range(a + 1):
            gQ[a, b] -= 0.5 * N[a, b]
            total = 0.5 * (other[a, b] + other[b, a])
            N[a, b] = total
            N[b, a] = total


@jit(fast=True, counted=False)
def _informations(f, t, N, gQ, gS):
    """N before each row of the block, from the last to the first."""
    few = N.shape[0] < BLAS_SIZE
    for c in range(t.seen.shape[1] - 1, -1, -1):
        if few:
            _row_of_few(f, t, c, N, gQ, gS)
        else:
            _row_of_many(f, t, c, N, gQ, gS)


@jit(fast=True, counted=False)
def _scores(f, t, P, r):
    """r, e and x̂ of each row, from the errors v and the predicted means in the place of x̂; r moves."""
    n, p = t.K.shape[1], t.K.shape[2]
    rows, e, x = t.seen.shape[1], 1 + n, 1 + n + p
    v, Fv, K, rex = t.v, t.Fv, t.K, t.rex
    for i in range(p):
        for c in range(rows):
            rex[e + i, 1 + c] = 0.0
        for j in range(p):
            for c in range(rows):
                rex[e + i, 1 + c] += t.Finv[i, j, c] * v[j, c]
    before = t.more[:, 0]
    for c in range(rows - 1, -1, -1):
        for a in range(n):
            rex[1 + a, 1 + c] = r[a]
        for i in range(p):
            total = rex[e + i, 1 + c]
            for a in range(n):
                total -= K[c, a, i] * r[a]
            rex[e + i, 1 + c] = total
        for a in range(n):
            total = 0.0
            for b in range(n):
                total += f.At[a, b] * r[b]
            for i in range(p):
                total += f.Ct[a, i] * rex[e + i, 1 + c]
            before[a] = total
        for a in range(n):
            r[a] = before[a]
        for a in range(n):
            total = rex[x + a, 1 + c]
            for b in range(n):
                total += P[c * n + a, b] * r[b]
            rex[x + a, 1 + c] = total
    for a in range(n):
        rex[1 + a, 0], rex[x + a, 0] = 0.0, 0.0
    for i in range(p):
        rex[e + i, 0] = 0.0


@jit(fast=True, counted=False)
def _errors(y, low, C, with_data, t):
    """v of each row, from the predicted means in the place of x̂; without data that of a response, −C X. Zero where missing."""
    p, n = C.shape
    rows, x = t.seen.shape[1], 1 + n + p
    for j in range(p):
        for c in range(rows):
            t.v[j, c] = y[low + c, j] if with_data else 0.0
        for a in range(n):
            weight = C[j, a]
            if weight != 0.0:
                for c in range(rows):
                    t.v[j, c] -= weight * t.rex[x + a, 1 + c]
        for c in range(rows):
            t.v[j, c] = t.v[j, c] if t.seen[j, c] > 0.0 else 0.0


@jit
def _block(y, low, f, P, mean_pred, response, r, N, rs, g, errors, shocks, t):
    n, p, rows = f.A.shape[0], f.C.shape[0], t.seen.shape[1]
    if not _gains(y, low, f, P, t):
        return False
    e, x = 1 + n, 1 + n + p
    _informations(f, t, N, g.Q, g.S)
    t.rex[0], t.rex[0, 0] = 1.0, 0.0
    _take(mean_pred, low, rows, t.rex, x)
    _errors(y, low, f.C, True, t)
    _scores(f, t, P, r)
    np.dot(t.rex[1:x], t.rex.T, t.sums)
    add_sums(t.sums, g.A, g.C, g.Q, g.R, g.S, g.b, g.d)
    if errors.shape[0] > 0:
        _give(t.rex, e, rows, errors, low)
    if shocks.shape[0] > 0:
        _give(t.rex, 1, rows, shocks, low)
    t.rex[0] = 0.0
    for h in range(rs.shape[0]):
        _take_response(response, h, low, rows, t.rex, x)
        _errors(y, low, f.C, False, t)
        _scores(f, t, P, rs[h])
        np.dot(t.rex[1:x], t.rex.T, t.sums)
        add_sums(t.sums, g.A, g.C, g.Q, g.R, g.S, g.b, g.d)
    np.dot(P.T, t.Z.reshape(rows * n, n + p), t.PZ)
    np.dot(t.K.reshape(rows * n, p).T, t.NK.reshape(rows * n, p), t.D)
    _add_expected(t, g)
    return True


@jit(fast=True, counted=False)
def _add_expected(t, g):
    n, p = g.C.shape[1], g.C.shape[0]
    for a in range(n):
        for b in range(n):
            g.A[a, b] -= t.PZ[b, a]
        for i in range(p):
            g.C[i, a] -= t.PZ[a, n + i]
    for i in range(p):
        for j in range(p):
            total = t.D[i, j]
            for c in range(t.seen.shape[1]):
                total += t.Finv[i, j, c]
            g.R[i, j] -= 0.5 * total


@jit(counted=False)
def _take(source, low, rows, out, at):
    for a in range(source.shape[1]):
        for c in range(rows):
            out[at + a, 1 + c] = source[low + c, a]


@jit(counted=False)
def _take_response(source, h, low, rows, out, at):
    for a in range(source.shape[1]):
        for c in range(rows):
            out[at + a, 1 + c] = source[low + c, a, h]


@jit(counted=False)
def _give(source, at, rows, out, low):
    for a in range(out.shape[1]):
        for c in range(rows):
            out[low + c, a] = source[at + a, 1 + c]


@jit
def run_rows(y, start, stop, steady, f, mean_pred, cov_pred, response, r, N, rs, g, errors, shocks):
    """Rows stop − 1 down to start. Returns False if an F is singular."""
    n, p = f.A.shape[0], f.C.shape[0]
    size = min(MOST, max(LEAST, NUMBERS // (n * (n + 5 * p + 3))))
    size = min(size, stop - start)
    tables = _tables(n, p, size)
    high = stop
    gQ = np.zeros((n, n))
    g = Sums(g.A, g.C, gQ, g.R, g.S, g.b, g.d)
    while high > start:
        low = max(start, high - size)
        if high - low < size:
            tables = _tables(n, p, high - low)
        P = cov_pred[low:high].reshape((high - low) * n, n)
        if not _block(y, low, f, P, mean_pred, response, r, N, rs, g, errors, shocks, tables):
            return False
        high = low
    return True
