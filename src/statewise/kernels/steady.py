"""The Kalman filter with a steady covariance: a linear recursion with a constant gain, as long as no entry is missing.

With the scaled gains u and errors z of `statewise.kernels.known` constant in law, [m[t+1]; z[t]] is one matrix times [m[t]; y[t]].
Source: Anderson & Moore, *Optimal Filtering* (1979), ch. 4; Durbin & Koopman (2012), §4.3.2 (convergence to the steady state).
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit

STRETCH = 8  # steps between two looks at how far a covariance has moved
STEADY_SHARE = 1e-11  # of the scale of P: how far from its limit it may be held constant


@jit(fast=True, counted=False)
def distance(P, before, Q, floor, unit, enough):
    """Largest |P − before| of an entry, relative to the scales of its two states: the largest of their P, Q and `floor` (n,).

    The first that is found to be more than `enough` will do. `unit` (n,) is room to work in.
    """
    n, largest = P.shape[0], 0.0
    for a in range(n):
        scale = max(P[a, a], Q[a, a], floor[a])
        unit[a] = 1.0 / math.sqrt(scale) if scale > 0.0 else 0.0
    for a in range(n):
        for b in range(a + 1):
            gap = abs(P[a, b] - before[a, b])
            if gap > 0.0:
                largest = max(largest, gap * unit[a] * unit[b] if unit[a] > 0.0 and unit[b] > 0.0 else np.inf)
        if largest > enough:
            return largest
    return largest


@jit(counted=False)
def units_of(P, Q, unit):
    """unit[a] = 1/√ of the scale of state a: the larger of its P and Q; 0 where it has neither."""
    for a in range(P.shape[0]):
        scale = max(P[a, a], Q[a, a])
        unit[a] = 1.0 / math.sqrt(scale) if scale > 0.0 else 0.0


@jit(fast=True, inline=True, counted=False)
def is_near(P, limit, unit):
    """Whether every entry of P is within `STEADY_SHARE` of the limit's, in the units of the two states (see `units_of`)."""
    for a in range(P.shape[0]):
        for b in range(a + 1):
            gap = abs(P[a, b] - limit[a, b])
            if gap > 0.0 and not (gap * unit[a] * unit[b] <= STEADY_SHARE and unit[a] * unit[b] > 0.0):
                return False
    return True


@jit(counted=False)
def will_stay(moved, moved_before, stretches):
    """Whether P is within `STEADY_SHARE` of where it goes in the `stretches` still to come, from how far it moved in the last two.

    Moves that shrink by the ratio r from stretch to stretch add up to less than moved · r/(1 − r), and to less than moved · stretches.
    The second bound is for moves that are rounding, or so slow that the end comes first.
    """
    if moved * stretches <= STEADY_SHARE:
        return True
    return moved < moved_before < np.inf and moved * moved <= STEADY_SHARE * (moved_before - moved)


@jit(counted=False)
def steady_map(low, Cs, Ab, G, u, sd, x, ys, z, M):
    """M (n + p, n + p), transposed: row j is what the j-th coordinate of [m; y] adds to [m next; z].

    u (p, n) holds the scaled gains and sd (p,) the standard deviations of the errors, all entries seen; x, ys and z are room to work in.
    """
    p, n = Cs.shape
    for j in range(n + p):
        for a in range(n):
            x[a] = 1.0 if a == j else 0.0
        for i in range(p):
            value = 1.0 if n + i == j else 0.0
            for h in range(i):
                value -= low[i, h] * ys[h]
            ys[i] = value
            for a in range(n):
                value -= Cs[i, a] * x[a]
            z[i] = value / sd[i]
            for a in range(n):
                x[a] += u[i, a] * z[i]
            M[j, n + i] = z[i]
        for a in range(n):
            total = 0.0
            for b in range(n):
                total += Ab[a, b] * x[b]
            for i in range(p):
                total += G[a, i] * ys[i]
            M[j, a] = total


@jit(counted=False)
def same(P, other):
    """Whether two matrices are equal to the last bit."""
    for a in range(P.shape[0]):
        for b in range(P.shape[1]):
            if P[a, b] != other[a, b]:
                return False
    return True


@jit(fast=True, counted=False)
def steady_run(
    y, start, stop, offset, M, u, constant, m, P, P_filt, x, log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt
):
    """Filter complete rows from `start` on; stops at the first row with a missing entry, whose number is returned.

    The covariances are stored only with the filtered moments. `constant` is −½ Σ log 2πF, x (n + p,) work space; m moves, P and P_filt stay.
    """
    n, p = m.shape[0], y.shape[1]
    moving, filtered = offset.shape[0] > 1, mean_filt.shape[0] > 0
    for t in range(start, stop):
        complete = True
        for j in range(p):
            if np.isnan(y[t, j]):
                complete = False
        if not complete:
            return t
        row = t if moving else 0
        for a in range(n):
            x[a] = offset[row, a]
        for i in range(p):
            x[n + i] = 0.0
        for j in range(p):
            weight = y[t, j]
            for i in range(n + p):
                x[i] += weight * M[n + j, i]
        for j in range(n):
            weight = m[j]
            for i in range(n + p):
                x[i] += weight * M[j, i]
        squares = 0.0
        for i in range(p):
            squares += x[n + i] * x[n + i]
        log_prob[t] = constant - 0.5 * squares
        if store:
            for a in range(n):
                mean_pred[t, a] = m[a]
        if filtered:
            for a in range(n):
                value = m[a]
                for i in range(p):
                    value += u[i, a] * x[n + i]
                mean_filt[t, a] = value
                for b in range(n):
                    cov_pred[t, a, b] = P[a, b]
                    cov_filt[t, a, b] = P_filt[a, b]
        for a in range(n):
            m[a] = x[a]
    return stop
