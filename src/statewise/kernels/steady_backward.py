"""The backward pass over rows whose gain is constant and whose N has settled: a linear recursion in r, and products of whole blocks of rows.

Letters and equations as in `statewise.kernels.smoother`. With P, K, F and N constant, only r ← C' F⁻¹ v + L' r is sequential; the errors,
the smoothed means and the sums of the gradient are products of blocks of rows.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.known import BLAS_SIZE
from statewise.kernels.score import add_products

BLOCK = 40_000  # numbers that a block of rows works on: they stay in the second cache, and a product takes longer than to call it
LEAST_ROWS = 256  # of a block
NEGLIGIBLE = 1e-20  # a diffuse start's share of a variance, from which on it is not carried along


@jit(fast=True, counted=False)
def _add_few_products(A, transposed, share, X, x_from, out, to, count):
    """out[i, to + c] += share · Σⱼ A[i, j] X[j, x_from + c] for the columns c < count, or with A' in the place of A."""
    rows, inner = (A.shape[1], A.shape[0]) if transposed else A.shape
    for i in range(rows):
        j = 0
        while j + 4 <= inner:  # four at once, so that a sum goes through memory a quarter as often
            one, two = (
                share * (A[j, i] if transposed else A[i, j]),
                share * (A[j + 1, i] if transposed else A[i, j + 1]),
            )
            three, four = (
                share * (A[j + 2, i] if transposed else A[i, j + 2]),
                share * (A[j + 3, i] if transposed else A[i, j + 3]),
            )
            for c in range(count):
                out[i, to + c] += (one * X[j, x_from + c] + two * X[j + 1, x_from + c]) + (
                    three * X[j + 2, x_from + c] + four * X[j + 3, x_from + c]
                )
            j += 4
        while j < inner:
            one = share * (A[j, i] if transposed else A[i, j])
            for c in range(count):
                out[i, to + c] += one * X[j, x_from + c]
            j += 1


@jit
def _add_products(A, transposed, share, X, x_from, out, to, count):
    """As `_add_few_products`, by BLAS where A is not small."""
    if A.size < BLAS_SIZE * BLAS_SIZE:
        _add_few_products(A, transposed, share, X, x_from, out, to, count)
        return
    moved = np.dot(A.T, X) if transposed else np.dot(A, X)
    for i in range(moved.shape[0]):
        for c in range(count):
            out[i, to + c] += share * moved[i, x_from + c]


@jit(fast=True, counted=False)
def _run_back(forcing, L, now, then, r):
    """r[:, c] = forcing[:, c] + L' r[:, c + 1], from the last column but one to the first; the last is given. now and then are (n,) room."""
    n, count = forcing.shape
    for b in range(n):
        now[b] = r[b, count]
    for c in range(count - 1, -1, -1):
        if n < BLAS_SIZE:
            for b in range(n):
                value = forcing[b, c]
                for a in range(n):
                    value += now[a] * L[a, b]
                then[b] = value
                r[b, c] = value
        else:
            for b in range(n):
                then[b] = forcing[b, c]
            a = 0
            while a + 4 <= n:  # four at once, so that a sum goes through memory a quarter as often
                one, two, three, four = now[a], now[a + 1], now[a + 2], now[a + 3]
                for b in range(n):
                    then[b] += (one * L[a, b] + two * L[a + 1, b]) + (three * L[a + 2, b] + four * L[a + 3, b])
                a += 4
            while a < n:
                weight = now[a]
                for b in range(n):
                    then[b] += weight * L[a, b]
                a += 1
            for b in range(n):
                r[b, c] = then[b]
        now, then = then, now


@jit(counted=False)
def _take_rows(source, low, count, out, to):
    """out[j, to + c] = source[low + c, j]."""
    for j in range(out.shape[0]):
        for c in range(count):
            out[j, to + c] = source[low + c, j]


@jit(counted=False)
def _give_rows(source, at, count, out, low):
    """out[low + c, j] = source[j, at + c]."""
    for j in range(out.shape[1]):
        for c in range(count):
            out[low + c, j] = source[j, at + c]


@jit
def run_back(y, low, stop, C, mean_pred, P, Finv, K, L, r, mean, errors, shocks, g):
    """Rows stop − 1 down to `low`, all complete; r moves. Fills what is wanted of mean, errors and shocks, and adds the products to the gradients.

    In a block one row of an array is one coordinate of all of its rows, in the columns 1 … count.
    """
    n, p = r.shape[0], y.shape[1]
    e, x, high = 1 + n, 1 + n + p, stop
    size = min(stop - low, max(LEAST_ROWS, BLOCK // (4 * n + 2 * p)))
    before, then, sums = np.empty(n), np.empty(n), np.empty((n + p, x + n))
    while high > low:
        start = max(low, high - size)
        count = high - start
        table = np.empty((x + n, count + 1))  # 1, r, e, x̂
        rs, es, xs = table[1:e], table[e:x], table[x:]
        v, forcing = np.empty((p, count)), np.zeros((n, count))
        table[0], table[0, 0], es[:], xs[:, 0] = 1.0, 0.0, 0.0, 0.0
        _take_rows(mean_pred, start, count, xs, 1)
        _take_rows(y, start, count, v, 0)
        _add_products(C, False, -1.0, xs, 1, v, 0, count)
        _add_products(Finv, False, 1.0, v, 0, es, 1, count)
        _add_products(C, True, 1.0, es, 1, forcing, 0, count)
        rs[:, count] = r
        _run_back(forcing, L, before, then, rs)
        _add_products(K, True, -1.0, rs, 1, es, 1, count)
        _add_products(P, False, 1.0, rs, 0, xs, 1, count)
        r[:], rs[:, 0] = rs[:, 0], 0.0
        if g.A.shape[0] > 0:
            np.dot(table[1:x], table.T, sums)
            add_products(sums, g)
        if mean.shape[0] > 0:
            _give_rows(xs, 1, count, mean, start)
        if errors.shape[0] > 0:
            _give_rows(es, 1, count, errors, start)
        if shocks.shape[0] > 0:
            _give_rows(rs, 1, count, shocks, start)
        high = start


@jit
def negligible_from(response, P, Q, start, stop):
    """The first row from which a diffuse start adds nothing to any variance (see `NEGLIGIBLE`); `stop` if there is none."""
    n, d = response.shape[1], response.shape[2]
    if d == 0:
        return start
    low = stop
    for t in range(stop - 1, start - 1, -1):
        for a in range(n):
            share = 0.0
            for h in range(d):
                share += response[t, a, h] * response[t, a, h]
            if not share <= NEGLIGIBLE * max(P[a, a], Q[a, a]):
                return low
        low = t
    return low
