"""Covariances that a recursion leaves alone: the filter's steady prediction, and the law of a stationary process."""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.kalman import _any_nonzero, _decorrelate, _diagonal, _nonzeros, _sandwich, _transition, _update

SETTLED = 1e-11  # a move of the steady covariance that may be rounding


@jit
def _relative_change(P, before, Q, floor):
    """Largest |P − before| of an entry, relative to the scales of its two states: the largest of their P, Q and `floor`."""
    n, change = P.shape[0], 0.0
    for a in range(n):
        for b in range(a + 1):
            gap = abs(P[a, b] - before[a, b])
            if gap > 0.0:
                size_a, size_b = max(P[a, a], Q[a, a], floor[a]), max(P[b, b], Q[b, b], floor[b])
                change = max(change, gap / math.sqrt(size_a * size_b) if size_a > 0.0 and size_b > 0.0 else np.inf)
    return change


@jit
def steady_covariance(A, C, Q, R, S, P, floor, max_iter):
    """Iterate P to the steady covariance of the prediction for complete data, in place.

    It has settled when it does not move at all, or when its largest move (see `_relative_change`; floor (n,)) is down to rounding: below
    `SETTLED`, and no longer falling from one stretch of steps to the next, each a tenth of the steps so far. Geometric convergence falls
    by more than that, however slow it is. Returns the number of iterations, `max_iter` if it had not settled by then.
    """
    p, n = C.shape
    cross = _any_nonzero(S)
    seen, low, D, Cs = np.arange(p), np.zeros((p, p)), np.zeros(p), np.zeros((p, n))
    G, Ab, Qb = np.zeros((n, p)), np.empty((n, n)), np.empty((n, n))
    gain, m, size, unused, none = np.empty(n), np.zeros(n), np.empty(n), np.empty(n), np.empty((n, 0))
    work, before = np.empty((n, n)), np.empty((n, n))
    _decorrelate(C, R, S, seen, p, low, D, Cs, G, cross)
    _transition(A, Q, Cs, G, D, p if cross else 0, Ab, Qb)
    index, count = np.empty((n, n), np.int64), np.empty(n, np.int64)
    _nonzeros(Ab, index, count)
    largest, largest_before, stretch_end = 0.0, np.inf, 20
    for iteration in range(max_iter):
        for a in range(n):
            for b in range(n):
                before[a, b] = P[a, b]
        _diagonal(P, size)
        for i in range(p):
            _update(Cs[i], D[i], 0.0, m, P, size, none, none, 0, gain, unused, unused)
        _sandwich(Ab, index, count, P, Qb, work, P)
        change = _relative_change(P, before, Q, floor)
        if change == 0.0:
            return iteration
        largest = max(largest, change)
        if iteration == stretch_end:
            if SETTLED >= largest > 0.5 * largest_before:
                return iteration
            largest, largest_before, stretch_end = 0.0, largest, iteration + max(20, iteration // 10)
    return max_iter


@jit
def stationary_covariance(A, Q, P, power, work, step):
    """P = A P A' + Q by doubling: P ← P + A P A', A ← A². Returns whether it converged (it cannot for a unit root).

    Q is any symmetric matrix, and each of its coordinates may have a unit of its own: every diagonal entry has to converge.
    P (n, n) is the output; `power`, `work` and `step` are (n, n) work space. Source: Anderson & Moore, *Optimal Filtering* (1979), §6.7.
    """
    n = A.shape[0]
    index, count = np.empty((n, n), np.int64), np.empty(n, np.int64)
    for a in range(n):
        for b in range(n):
            P[a, b] = Q[a, b]
            power[a, b] = A[a, b]
    for _ in range(60):
        for a in range(n):
            for b in range(n):
                step[a, b] = 0.0
        _nonzeros(power, index, count)
        _sandwich(power, index, count, P, step, work, step)
        settled, size, change = True, 0.0, 0.0
        for a in range(n):
            for b in range(n):
                P[a, b] += step[a, b]
                size = max(size, abs(P[a, b]))
                change = max(change, abs(step[a, b]))
            if not np.isfinite(P[a, a]):
                return False
            settled = settled and abs(step[a, a]) <= 1e-17 * abs(P[a, a])
        if settled and change <= 1e-17 * size:
            return True
        for a in range(n):
            for b in range(n):
                work[a, b] = 0.0
            for c in range(n):
                for b in range(n):
                    work[a, b] += power[a, c] * power[c, b]
        for a in range(n):
            for b in range(n):
                power[a, b] = work[a, b]
    return False
