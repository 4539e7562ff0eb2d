"""Log densities and weighted moments of K normal laws at packed rows.

Letters: y (rows, p) values; w (rows, K) weights; parameters have the states last, so that the inner loops run along
contiguous memory: m (p, K) means or centres, and so on. Every kernel does rows `first` to `last`.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit

ROWS = 64  # rows of a block


@jit(fast=True)
def diagonal_table(y, m, precision, constant, first, last, L):
    """L (rows, K) = Σ_d constant[d] − ½ precision[d] (y[d] − m[d])² over the entries d that are not NaN.

    A block of rows at a time, with the rows last, so that the inner loop is long however few states there are.
    """
    p, K = m.shape
    column, total = np.empty(ROWS), np.empty((K, ROWS))
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        for k in range(K):
            for t in range(rows):
                total[k, t] = 0.0
        for d in range(p):
            for t in range(rows):
                column[t] = y[start + t, d]
            for k in range(K):
                centre, half, base = m[d, k], 0.5 * precision[d, k], constant[d, k]
                for t in range(rows):
                    gap = column[t] - centre
                    total[k, t] += base - half * gap * gap if gap == gap else 0.0  # false for NaN alone
        for t in range(rows):
            for k in range(K):
                L[start + t, k] = total[k, t]


@jit(fast=True)
def whitened_table(y, m, whitener, constant, z, first, last, L):
    """L (rows, K) = constant − ½ ‖W (y − m)‖² for rows without NaN, W = `whitener` (p, p, K) lower triangular.

    `z` (K,) is scratch, one for each caller.
    """
    p, K = m.shape
    for t in range(first, last):
        for k in range(K):
            L[t, k] = constant[k]
        for a in range(p):
            for k in range(K):
                z[k] = 0.0
            for b in range(a + 1):
                value = y[t, b]
                for k in range(K):
                    z[k] += whitener[a, b, k] * (value - m[b, k])
            for k in range(K):
                L[t, k] -= 0.5 * z[k] * z[k]


@jit(fast=True)
def diagonal_moments(y, w, m, first, last, s0, s1, s2):
    """Add Σ w, Σ w (y − m) and Σ w (y − m)² over the entries that are not NaN to s0, s1 and s2, each (p, K)."""
    p, K = m.shape
    for t in range(first, last):
        for d in range(p):
            value = y[t, d]
            if math.isnan(value):
                continue
            # Three loops: one alone has more arrays than the compiler checks for overlap, and stays scalar.
            for k in range(K):
                s0[d, k] += w[t, k]
            for k in range(K):
                s1[d, k] += w[t, k] * (value - m[d, k])
            for k in range(K):
                gap = value - m[d, k]
                s2[d, k] += w[t, k] * gap * gap


@jit(fast=True)
def full_moments(y, w, m, first, last, s0, s1, s2):
    """`diagonal_moments` for rows without NaN with products: s0 (K,), s1 (p, K), s2 (p, p, K), lower triangle only."""
    p, K = m.shape
    for t in range(first, last):
        for k in range(K):
            s0[k] += w[t, k]
        for a in range(p):
            left = y[t, a]
            for k in range(K):
                s1[a, k] += w[t, k] * (left - m[a, k])
            for b in range(a + 1):
                right = y[t, b]
                for k in range(K):
                    s2[a, b, k] += w[t, k] * (left - m[a, k]) * (right - m[b, k])


@jit(fast=True)
def column_extent(y, count, total, low, high):
    """Number, sum, least and largest of the entries of each column that are not NaN; each result (p,), +inf and −inf where none."""
    for t in range(y.shape[0]):
        for d in range(y.shape[1]):
            value = y[t, d]
            seen = value == value
            count[d] += 1.0 if seen else 0.0
            total[d] += value if seen else 0.0
            low[d] = value if value < low[d] else low[d]
            high[d] = value if value > high[d] else high[d]


@jit(fast=True)
def column_square(y, centre, square):
    """Σ (y − centre)² over the entries of each column that are not NaN, added to `square` (p,)."""
    for t in range(y.shape[0]):
        for d in range(y.shape[1]):
            gap = y[t, d] - centre[d]
            square[d] += gap * gap if gap == gap else 0.0


@jit(fast=True)
def powers(y, centre, table):
    """`table` (rows, 1 + 2p) = 1, y − centre and (y − centre)² side by side."""
    p = y.shape[1]
    for t in range(y.shape[0]):
        table[t, 0] = 1.0
        for d in range(p):
            gap = y[t, d] - centre[d]
            table[t, 1 + d] = gap
            table[t, 1 + p + d] = gap * gap
