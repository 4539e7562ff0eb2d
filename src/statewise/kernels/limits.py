"""Covariances that a recursion leaves alone: the filter's steady prediction, and the law of a stationary process."""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.known import learn_known
from statewise.kernels.steady import distance
from statewise.kernels.step import any_nonzero, copy, decorrelate, nonzeros, sandwich, transition

SETTLED = 1e-11  # a move of the steady covariance that may be rounding


@jit
def steady_covariance(A, C, Q, R, S, P, floor, max_iter):
    """Iterate P to the steady covariance of the prediction for complete data, in place.

    It has settled when it does not move at all, or when its largest move (see `distance`; floor (n,)) is down to rounding: below
    `SETTLED`, and no longer falling from one stretch of steps to the next, each a tenth of the steps so far. Geometric convergence falls
    by more than that, however slow it is. Returns the number of iterations, `max_iter` if it had not settled by then.
    """
    p, n = C.shape
    cross = any_nonzero(S)
    seen, low, D, Cs = np.arange(p), np.zeros((p, p)), np.zeros(p), np.zeros((p, n))
    G, Ab, Qb = np.zeros((n, p)), np.empty((n, n)), np.empty((n, n))
    m, size, u, ut = np.zeros(n), np.empty(n), np.zeros((p, n)), np.empty((n, p))
    nothing, ys, z, sd = np.zeros((1, p)), np.empty(p), np.empty(p), np.empty(p)
    work, before = np.empty((n, n)), np.empty((n, n))
    decorrelate(C, R, S, seen, p, low, D, Cs, G, cross)
    transition(A, Q, Cs, G, D, p if cross else 0, Ab, Qb)
    index, count = np.empty((n, n), np.int64), np.empty(n, np.int64)
    nonzeros(Ab, index, count)
    largest, largest_before, stretch_end = 0.0, np.inf, 20
    for iteration in range(max_iter):
        copy(P, before)
        learn_known(nothing, 0, seen, p, low, D, Cs, ys, m, P, size, u, ut, z, sd, work)
        sandwich(Ab, index, count, P, Qb, work, P)
        change = distance(P, before, Q, floor, size, np.inf)
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
    index, count, nothing = np.empty((n, n), np.int64), np.empty(n, np.int64), np.zeros((n, n))
    copy(Q, P)
    copy(A, power)
    for _ in range(60):
        nonzeros(power, index, count)
        sandwich(power, index, count, P, nothing, work, step)
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
        copy(work, power)
    return False
