"""Log densities and weighted moments of K normal laws at packed rows.

Letters: y (rows, p) values; w (rows, K) weights; m (p, K) means or centres, the states last. Every kernel does rows `first` to
`last`, a block at a time that is turned first, so that the rows lie side by side in the lanes of a vector however few columns and
states there are.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES, add_product, if_number, larger, load, smaller, spread, store

ROWS = 64  # rows of a block


@jit
def _turn(y, start, rows, fill, columns):
    """columns[d ROWS + t] = y[start + t, d], `fill` beyond the last row."""
    part = y[start : start + rows]
    for d in range(y.shape[1]):
        column = columns[d * ROWS : (d + 1) * ROWS]
        for t in range(rows):
            column[t] = part[t, d]
        for t in range(rows, ROWS):
            column[t] = fill


@jit
def _turn_back(columns, start, rows, table):
    part = table[start : start + rows]
    for k in range(table.shape[1]):
        column = columns[k * ROWS : (k + 1) * ROWS]
        for t in range(rows):
            part[t, k] = column[t]


@jit(fast=True)
def _sum(x, at):
    total = 0.0
    for lane in range(LANES):
        total += x[at + lane]
    return total


@jit
def _has_nan(columns, size):
    found = False
    for i in range(size):
        found = found or columns[i] != columns[i]
    return found


@jit(fast=True)
def diagonal_table(y, m, half, constant, first, last, L):
    """L (rows, K) = Σ_d constant[d] − half[d] (y[d] − m[d])² over the entries d that are not NaN."""
    p, K = m.shape
    columns, found = np.empty(p * ROWS), np.empty(K * ROWS)
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        _turn(y, start, rows, 0.0, columns)
        gaps = _has_nan(columns, p * ROWS)
        for k in range(K):
            for t in range(0, rows, LANES):
                total = spread(0.0)
                for d in range(p):
                    gap = load(columns, d * ROWS + t) - spread(m[d, k])
                    value = spread(constant[d, k]) - gap * gap * spread(half[d, k])
                    total = total + (if_number(value, value) if gaps else value)
                store(found, k * ROWS + t, total)
        _turn_back(found, start, rows, L)


@jit(fast=True)
def whitened_table(y, m, whitener, constant, first, last, L):
    """L (rows, K) = constant − ½ ‖W (y − m)‖² for rows without NaN, W = `whitener` (p, p, K) lower triangular."""
    p, K = m.shape
    columns, found, gaps = np.empty(p * ROWS), np.empty(K * ROWS), np.empty(p * LANES)
    half = spread(-0.5)
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        _turn(y, start, rows, 0.0, columns)
        for k in range(K):
            for t in range(0, rows, LANES):
                total = spread(constant[k])
                for a in range(p):
                    gap = load(columns, a * ROWS + t) - spread(m[a, k])
                    store(gaps, a * LANES, gap)
                    z = gap * spread(whitener[a, a, k])
                    for b in range(a):
                        z = add_product(z, load(gaps, b * LANES), spread(whitener[a, b, k]))
                    total = add_product(total, half * z, z)
                store(found, k * ROWS + t, total)
        _turn_back(found, start, rows, L)


@jit(fast=True)
def diagonal_moments(y, w, m, first, last, s0, s1, s2):
    """Add Σ w, Σ w (y − m) and Σ w (y − m)² over the entries that are not NaN to s0, s1 and s2, each (p, K)."""
    p, K = m.shape
    columns, weights, sums = np.empty(p * ROWS), np.empty(K * ROWS), np.zeros(3 * p * K * LANES)
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        _turn(y, start, rows, 0.0, columns)
        _turn(w, start, rows, 0.0, weights)
        gaps = _has_nan(columns, p * ROWS)
        for k in range(K):
            for d in range(p):
                at, centre = 3 * (k * p + d) * LANES, spread(m[d, k])
                c0, c1, c2 = load(sums, at), load(sums, at + LANES), load(sums, at + 2 * LANES)
                for t in range(0, rows, LANES):
                    gap, weight = load(columns, d * ROWS + t) - centre, load(weights, k * ROWS + t)
                    if gaps:
                        weight, gap = if_number(gap, weight), if_number(gap, gap)
                    c0 = c0 + weight
                    weight = weight * gap
                    c1 = c1 + weight
                    c2 = add_product(c2, weight, gap)
                store(sums, at, c0)
                store(sums, at + LANES, c1)
                store(sums, at + 2 * LANES, c2)
    for d in range(p):
        for k in range(K):
            at = 3 * (k * p + d) * LANES
            s0[d, k] += _sum(sums, at)
            s1[d, k] += _sum(sums, at + LANES)
            s2[d, k] += _sum(sums, at + 2 * LANES)


@jit(fast=True)
def full_moments(y, w, m, first, last, s0, s1, s2):
    """`diagonal_moments` for rows without NaN with products: s0 (K,), s1 (p, K), s2 (p, p, K), lower triangle only."""
    p, K = m.shape
    columns, weights = np.empty(p * ROWS), np.empty(K * ROWS)
    gaps, weighted = np.empty(p * ROWS), np.empty(ROWS)
    size = 1 + p + p * (p + 1) // 2
    sums = np.zeros(K * size * LANES)
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        _turn(y, start, rows, 0.0, columns)
        _turn(w, start, rows, 0.0, weights)
        for k in range(K):
            at = k * size * LANES
            total = load(sums, at)
            for t in range(0, rows, LANES):
                total = total + load(weights, k * ROWS + t)
            store(sums, at, total)
            for a in range(p):
                at += LANES
                total, centre = load(sums, at), spread(m[a, k])
                for t in range(0, rows, LANES):
                    gap = load(columns, a * ROWS + t) - centre
                    weight = load(weights, k * ROWS + t) * gap
                    store(gaps, a * ROWS + t, gap)
                    store(weighted, t, weight)
                    total = total + weight
                store(sums, at, total)
                for b in range(a + 1):
                    at += LANES
                    total = load(sums, at)
                    for t in range(0, rows, LANES):
                        total = add_product(total, load(weighted, t), load(gaps, b * ROWS + t))
                    store(sums, at, total)
    for k in range(K):
        at = k * size * LANES
        s0[k] += _sum(sums, at)
        for a in range(p):
            at += LANES
            s1[a, k] += _sum(sums, at)
            for b in range(a + 1):
                at += LANES
                s2[a, b, k] += _sum(sums, at)


@jit(fast=True)
def column_moments(y, first, last, count, mean, square, low, high):
    """Number, mean, Σ (y − mean)², least and largest of the entries of each column that are not NaN, (p,) each; +inf and −inf where none.

    Blocks are put together as Chan, Golub & LeVeque, The American Statistician 37 (1983), eq. 2.1, do it: no digits cancel.
    """
    p = y.shape[1]
    columns, lanes, one = np.empty(p * ROWS), np.empty(4 * LANES), spread(1.0)
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        _turn(y, start, rows, np.nan, columns)
        for d in range(p):
            number, total, least, most = spread(0.0), spread(0.0), spread(np.inf), spread(-np.inf)
            for t in range(0, rows, LANES):
                value = load(columns, d * ROWS + t)
                number = number + if_number(value, one)
                total = total + if_number(value, value)
                least, most = smaller(value, least), larger(value, most)
            store(lanes, 0, number)
            store(lanes, LANES, total)
            store(lanes, 2 * LANES, least)
            store(lanes, 3 * LANES, most)
            seen = _sum(lanes, 0)
            for lane in range(LANES):
                low[d] = min(low[d], lanes[2 * LANES + lane])
                high[d] = max(high[d], lanes[3 * LANES + lane])
            if seen > 0.0:
                centre, total = _sum(lanes, LANES) / seen, spread(0.0)
                for t in range(0, rows, LANES):
                    gap = load(columns, d * ROWS + t) - spread(centre)
                    gap = if_number(gap, gap)
                    total = add_product(total, gap, gap)
                store(lanes, 0, total)
                both = count[d] + seen
                shift = centre - mean[d]
                square[d] += _sum(lanes, 0) + shift * shift * (count[d] * seen / both)
                mean[d] += shift * (seen / both)
                count[d] = both
