"""The exact gradient of the log-likelihood: the backward pass of the Kalman smoother, in blocks of rows.

Letters and equations as in `statewise.kernels.smoother`. Only r and N of a row depend on the row after it. The gains are worked out for a block
of rows at once (`statewise.kernels.gains`); r and N go from row to row, and what they leave behind is kept for the block, so that
the sums over it are products of matrices. With X = L'N and Y = C' F⁻¹ − X K,
    N ← X A + Y C,    ∂/∂A = Σ r x̂' − (P X)',    ∂/∂C = Σ e x̂' − (P Y)',    ∂/∂S = Σ r e' + N K,
and Σ P [X Y] is one product. A missing entry has zeros in F⁻¹, and so in K, e and Y. A direction of a diffuse start has r, e and x̂ of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import gemm, jit
from statewise.kernels.gains import Gains, gains, new_gains
from statewise.kernels.known import BLAS_SIZE
from statewise.kernels.score import Sums, add_expected, add_products
from statewise.kernels.steady import STRETCH, distance, will_stay
from statewise.kernels.steady_backward import negligible_from, run_back
from statewise.kernels.step import copy, list_nonzeros, sparse_rows

NUMBERS = 40_000  # that a block of rows works on: they stay in the second cache
LEAST_ROWS, MOST_ROWS = 16, 256  # of a block


class _System(NamedTuple):
    """The system; C', [A; C], and A' with where it is not zero."""

    A: np.ndarray
    C: np.ndarray
    R: np.ndarray
    S: np.ndarray
    Ct: np.ndarray
    AC: np.ndarray
    At: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    dense: bool


class _Tables(NamedTuple):
    """What a block of B rows leaves behind: P (B n, n), N K (B, n, p), [X Y] (B, n, n + p), v (p, B), and [1 r e x̂] in columns, r before the first
    row in front of them. N is summed up; the rest is room for one row, and for the products.
    """

    gains: Gains
    P: np.ndarray
    NK: np.ndarray
    XY: np.ndarray
    v: np.ndarray
    rex: np.ndarray
    N: np.ndarray
    X: np.ndarray
    outer: np.ndarray
    narrow: np.ndarray
    before: np.ndarray
    products: np.ndarray
    PXY: np.ndarray
    D: np.ndarray


@jit
def new_system(A, C, R, S):
    """The system as the blocks take it."""
    n, p = A.shape[0], C.shape[0]
    AC, At, Ct = np.empty((n + p, n)), np.empty((n, n)), np.empty((n, p))
    columns, counts = np.empty((n, n), np.int64), np.empty(n, np.int64)
    for a in range(n):
        for b in range(n):
            AC[b, a] = At[a, b] = A[b, a]
        for i in range(p):
            AC[n + i, a] = Ct[a, i] = C[i, a]
    dense = list_nonzeros(At, columns, counts)
    return _System(A, C, R, S, Ct, AC, At, columns, counts, dense)


@jit
def new_tables(n, p, rows):
    """Room for blocks of so many rows."""
    return _Tables(
        new_gains(n, p, rows), np.empty((rows * n, n)), np.empty((rows, n, p)), np.empty((rows, n, n + p)), np.empty((p, rows)),
        np.empty((1 + n + p + n, rows + 1)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, p)), np.empty(n),
        np.empty((n + p, 1 + n + p + n)), np.empty((n, n + p)), np.empty((p, p)),
    )  # fmt: skip


@jit(counted=False)
def block_rows(n, p, rows):
    """Rows of a block, of so many in all."""
    return min(rows, MOST_ROWS, max(LEAST_ROWS, NUMBERS // (n * (n + 5 * p + 3))))


@jit(fast=True, inline=True, counted=False)
def _row_of_few(f, t, c, N):
    """N K, X and Y of row c, and the N before it, by plain loops; Y holds C' F⁻¹."""
    n, p = t.NK.shape[1], t.NK.shape[2]
    A, C, K, NK, XY = f.A, f.C, t.gains.K, t.NK, t.XY
    for b in range(n):
        for i in range(p):
            total = 0.0
            for a in range(n):
                total += N[b, a] * K[c, a, i]
            NK[c, b, i] = total
    for a in range(n):
        for b in range(n):
            total = 0.0
            for h in range(n):
                total += A[h, a] * N[h, b]
            for i in range(p):
                total -= C[i, a] * NK[c, b, i]
            XY[c, a, b] = total
    for a in range(n):
        for i in range(p):
            total = 0.0
            for b in range(n):
                total += XY[c, a, b] * K[c, b, i]
            XY[c, a, n + i] -= total
    for a in range(n):
        for b in range(a + 1):
            t.N[a, b] += N[a, b]
            total = 0.0
            for h in range(n + p):
                total += XY[c, a, h] * f.AC[h, b]
            N[a, b] = total
            N[b, a] = total


@jit(fast=True, inline=True, counted=False)
def _add_outer(f, share, narrow, outer, out):
    """out += share · C' narrow', narrow (n, p); a single row of C by its entries that are not zero."""
    n, p = narrow.shape
    if p == 1:
        for a in range(n):
            weight = share * f.C[0, a]
            if weight != 0.0:
                for b in range(n):
                    out[a, b] += weight * narrow[b, 0]
        return
    gemm(f.Ct, narrow.T, outer)
    for a in range(n):
        for b in range(n):
            out[a, b] += share * outer[a, b]


@jit(fast=True, counted=False)
def _row_of_many(f, t, c, N):
    """As `_row_of_few`, by BLAS and by the entries of A that are not zero."""
    n, p = t.NK.shape[1], t.NK.shape[2]
    K, NK, XY, X, Y = t.gains.K[c], t.NK[c], t.XY[c], t.X, t.narrow
    gemm(N, K, NK)
    if f.dense:
        gemm(f.At, N, X)
    else:
        sparse_rows(f.At, f.columns, f.counts, N, X)
    _add_outer(f, -1.0, NK, t.outer, X)
    gemm(X, K, Y)
    for a in range(n):
        for b in range(n):
            XY[a, b] = X[a, b]
        for i in range(p):
            Y[a, i] = XY[a, n + i] - Y[a, i]
            XY[a, n + i] = Y[a, i]
    if f.dense:
        gemm(XY, f.AC, X)
    else:
        for a in range(n):
            for b in range(n):
                t.outer[b, a] = X[a, b]
        sparse_rows(f.At, f.columns, f.counts, t.outer, X)
        _add_outer(f, 1.0, Y, t.outer, X)
    for a in range(n):
        for b in range(a + 1):
            t.N[a, b] += N[a, b]
            total = 0.5 * (X[a, b] + X[b, a])
            N[a, b] = total
            N[b, a] = total


@jit(fast=True, counted=False)
def _informations(f, t, N):
    """N K, X and Y of each row of the block, from the last to the first; N moves."""
    n, p, rows = t.NK.shape[1], t.NK.shape[2], t.NK.shape[0]
    for a in range(n):
        for b in range(n):
            t.N[a, b] = 0.0
        for i in range(p):
            for c in range(rows):
                t.XY[c, a, n + i] = t.gains.CF[a, i, c]
    for c in range(rows - 1, -1, -1):
        if n < BLAS_SIZE:
            _row_of_few(f, t, c, N)
        else:
            _row_of_many(f, t, c, N)
    for a in range(n):
        for b in range(a):
            t.N[b, a] = t.N[a, b]


@jit(fast=True, counted=False)
def _errors(y, low, C, with_data, t):
    """v of each row from the predicted means in the place of x̂; without data that of their response, −C X. Zero where missing."""
    p, n = C.shape
    rows, x = t.v.shape[1], 1 + n + p
    for j in range(p):
        for c in range(rows):
            t.v[j, c] = y[low + c, j] if with_data else 0.0
        for a in range(n):
            weight = C[j, a]
            if weight != 0.0:
                for c in range(rows):
                    t.v[j, c] -= weight * t.rex[x + a, 1 + c]
        for c in range(rows):
            t.v[j, c] = t.v[j, c] if t.gains.seen[j, c] > 0.0 else 0.0


@jit(fast=True, counted=False)
def _scores(f, t, P, r):
    """r, e and x̂ of each row, from v and the predicted means in the place of x̂; r moves."""
    n, p, rows = t.NK.shape[1], t.NK.shape[2], t.NK.shape[0]
    e, x = 1 + n, 1 + n + p
    A, C, K, before, rex = f.A, f.C, t.gains.K, t.before, t.rex
    for i in range(p):
        for c in range(rows):
            rex[e + i, 1 + c] = 0.0
        for j in range(p):
            for c in range(rows):
                rex[e + i, 1 + c] += t.gains.Finv[i, j, c] * t.v[j, c]
    for c in range(rows - 1, -1, -1):
        for a in range(n):
            before[a] = 0.0
        for i in range(p):
            error = rex[e + i, 1 + c]
            for a in range(n):
                error -= K[c, a, i] * r[a]
            rex[e + i, 1 + c] = error
            for a in range(n):
                before[a] += C[i, a] * error
        for b in range(n):
            weight = r[b]
            rex[1 + b, 1 + c] = weight
            for a in range(n):
                before[a] += A[b, a] * weight
        for a in range(n):
            r[a] = before[a]
            before[a] = 0.0
        for b in range(n):
            weight = r[b]
            for a in range(n):
                before[a] += P[c * n + b, a] * weight
        for a in range(n):
            rex[x + a, 1 + c] += before[a]
    for h in range(1, rex.shape[0]):
        rex[h, 0] = 0.0


@jit(counted=False)
def _take(source, low, out, at):
    """out[at + a, 1 + c] = source[low + c, a]."""
    for a in range(source.shape[1]):
        for c in range(out.shape[1] - 1):
            out[at + a, 1 + c] = source[low + c, a]


@jit(counted=False)
def _give(source, at, out, low):
    """out[low + c, a] = source[at + a, 1 + c]."""
    for a in range(out.shape[1]):
        for c in range(source.shape[1] - 1):
            out[low + c, a] = source[at + a, 1 + c]


@jit(fast=True, counted=False)
def _add_up(t):
    """N K in t.narrow, and F⁻¹ added to t.D, summed over the rows."""
    n, p, rows = t.NK.shape[1], t.NK.shape[2], t.NK.shape[0]
    for a in range(n):
        for i in range(p):
            t.narrow[a, i] = 0.0
    for c in range(rows):
        for a in range(n):
            for i in range(p):
                t.narrow[a, i] += t.NK[c, a, i]
    for i in range(p):
        for j in range(p):
            for c in range(rows):
                t.D[i, j] += t.gains.Finv[i, j, c]


@jit
def _add_block(P, g, t):
    """Add what holds no data, of the rows that the tables hold."""
    rows, n, p = t.NK.shape
    np.dot(P.T, t.XY.reshape(rows * n, n + p), t.PXY)
    np.dot(t.gains.K.reshape(rows * n, p).T, t.NK.reshape(rows * n, p), t.D)
    _add_up(t)
    add_expected(t.N, t.narrow, t.D, t.PXY, g)


@jit
def _covs(cov_pred, low, high, steady, held):
    """The covariances of the rows from `low` to `high`, one below the other; `held` is room for those that are not stored."""
    n = cov_pred.shape[1]
    if high <= steady + 1:
        return cov_pred[low:high].reshape((high - low) * n, n)
    for t in range(low, high):
        copy(cov_pred[min(t, steady)], held[(t - low) * n : (t - low + 1) * n])
    return held


@jit
def gradient_rows(y, start, stop, steady, f, mean_pred, cov_pred, response, r, N, rs, g, errors, shocks, tables):
    """Rows stop − 1 down to start. Returns whether every F was regular, and the tables for the rows to come.

    r, N and rs (d, n), the r of each direction of δ, are those of the row `stop` on entry, zero at the end of the sequence, and of `start` on
    exit. From the row `steady` on nothing is missing and the prediction's covariance is that of `steady`.
    """
    n, p, high = f.A.shape[0], f.C.shape[0], stop
    size, x = block_rows(n, p, stop - start), 1 + n + p
    while high > start:
        low = max(start, high - size)
        if tables.NK.shape[0] != high - low:
            tables = new_tables(n, p, high - low)
        t, P = tables, _covs(cov_pred, low, high, steady, tables.P)
        if not gains(y, low, f.A, f.C, f.Ct, f.R, f.S, P, t.gains):
            return False, tables
        _informations(f, t, N)
        for h in range(-1, rs.shape[0]):
            with_data = h < 0
            t.rex[0], t.rex[0, 0] = 1.0 if with_data else 0.0, 0.0
            if with_data:
                _take(mean_pred, low, t.rex, x)
            else:
                _take(response[:, :, h], low, t.rex, x)
            _errors(y, low, f.C, with_data, t)
            _scores(f, t, P, r if with_data else rs[h])
            np.dot(t.rex[1:x], t.rex.T, t.products)
            add_products(t.products, g)
            if with_data and errors.shape[0] > 0:
                _give(t.rex, 1 + n, errors, low)
            if with_data and shocks.shape[0] > 0:
                _give(t.rex, 1, shocks, low)
        _add_block(P, g, t)
        high = low
    return True, tables


@jit(counted=False)
def _constant_informations(f, N, count, floor, unit, settled, total, t):
    """As `_informations`, for the sum of N over `count` rows of the gain that the tables hold; N moves until it has settled."""
    n, p, moved, moved_before = N.shape[0], t.NK.shape[2], np.inf, np.inf
    for done in range(count):
        if done > 0 and done % STRETCH == 0:
            moved_before, moved = moved, distance(N, settled, settled, floor, unit, np.inf)
            copy(N, settled)
            if will_stay(moved, moved_before, (count - done) / STRETCH):
                for a in range(n):
                    for b in range(n):
                        total[a, b] += (count - done) * N[a, b]
                break
        _informations(f, t, N)
        for a in range(n):
            for b in range(n):
                total[a, b] += t.N[a, b]
    for i in range(p):
        for a in range(n):
            t.gains.CF[a, i, 0] *= count
        for j in range(p):
            t.gains.Finv[i, j, 0] *= count
    _informations(f, t, total)


@jit
def _constant_rows(y, low, stop, f, mean_pred, P, r, N, g, errors, shocks, t):
    """Rows stop − 1 down to `low`, complete and of the prediction's covariance P; r and N move. Returns False if F is singular.

    The vectors go in blocks; what the gradients need of N is its sum. The tables `t` hold one row.
    """
    n, p = f.A.shape[0], f.C.shape[0]
    if not gains(y, stop - 1, f.A, f.C, f.Ct, f.R, f.S, P, t.gains):
        return False
    K, L = t.gains.K[0], np.empty((n, n))
    np.dot(K, f.C, L)
    for a in range(n):
        for b in range(n):
            L[a, b] = f.A[a, b] - L[a, b]
    run_back(y, low, stop, f.C, mean_pred, P, t.gains.Finv.reshape(p, p), K, L, r, mean_pred[:0], errors, shocks, g)
    _constant_informations(f, N, stop - low, np.zeros(n), t.before, np.zeros((n, n)), np.zeros((n, n)), t)
    _add_block(P, g, t)
    return True


@jit
def gradient_packed(
    first, last, y, offsets, steady_from, A, C, Q, R, S, mean_pred, cov_pred, response, r, N, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, status
):  # fmt: skip
    """The gradient of the packed sequences `first` to `last` (exclusive).

    Args:
        y, offsets, A, C, Q, R, S: as in `kalman.filter_packed`.
        steady_from: (N,) from the forward pass: cov_pred is read up to and including this step of each sequence only.
        mean_pred, cov_pred: (rows, n), (rows, n, n) from the forward pass, for a diffuse start the mean at δ̂ and the covariance given δ.
        response: (rows, n, d) X times a root of Δ; d is 0 without a diffuse start.
        r, N: (N, n), (N, n, n) zeros on entry; r₀ and N₀ of each sequence on exit (N₀ is given δ).
        gA, gC, gQ, gR, gS, gb, gd: gradients, added to; Q and R as if all their entries were free.
        errors: (rows, p) out: e, 0 where missing; its products with the inputs are the gradient in D. Left alone if empty.
        shocks: (rows, n) out: r; its products with the inputs are the gradient in B. Left alone if empty.
        status: (N,) out: 2 where an innovation covariance is singular, else 0.
    """
    d, n, p = response.shape[2], A.shape[0], C.shape[0]
    f, g = new_system(A, C, R, S), Sums(gA, gC, gQ, gR, gS, gb, gd)
    tables, one = new_tables(n, p, 0), new_tables(n, p, 1)
    for i in range(first, last):
        start, stop, rs = offsets[i], offsets[i + 1], np.zeros((d, n))
        steady = start + steady_from[i]
        low, good = stop, True
        if steady < stop:
            low = negligible_from(response, cov_pred[steady], Q, steady, stop)
        if low < stop:
            good = _constant_rows(y, low, stop, f, mean_pred, cov_pred[steady], r[i], N[i], g, errors, shocks, one)
        if good:
            good, tables = gradient_rows(
                y, start, low, steady, f, mean_pred, cov_pred, response, r[i], N[i], rs, g, errors, shocks, tables
            )
        status[i] = 0 if good else 2
