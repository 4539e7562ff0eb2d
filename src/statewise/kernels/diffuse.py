"""The Kalman filter as long as a direction of the state is diffuse: the exact initial filter, one observed entry at a time.

Source: Durbin & Koopman, *Time Series Analysis by State Space Methods*, 2nd ed. (2012), §5.2 and §6.4; Koopman & Durbin, J. Time Series
Analysis 21 (2000). Letters as in `statewise.kernels.kalman`.

The diffuse covariance is kept as a factor, P∞ = W W', one column for each direction that is still unknown. An entry that is learnt takes
one column away for good, so that rounding cannot leave a remainder that looks like ignorance. `reach` is W as it would be had nothing
been learnt: rounding errors in W are small against it, not against what is left of W.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.known import DEGENERATE_TOLERANCE, LOG_2PI
from statewise.kernels.step import (
    any_nonzero,
    decorrelate,
    diagonal,
    list_moves,
    move_mean,
    sandwich,
    see,
    store_moments,
    transition,
)

DIFFUSE_TOLERANCE = 1e-10  # √F∞ relative to the terms of c'·reach; smaller: the entry tells nothing of the diffuse part


@jit(counted=False)
def _diffuse_part(c, W, reach, rank, share):
    """share = W' c and F∞ = ‖W' c‖², 0 where that is rounding."""
    n, d = reach.shape
    F_inf, terms = 0.0, 0.0
    for k in range(rank):
        total = 0.0
        for a in range(n):
            total += c[a] * W[a, k]
        share[k] = total
        F_inf += total * total
    for a in range(n):
        if c[a] != 0.0:
            size = 0.0
            for k in range(d):
                size += reach[a, k] * reach[a, k]
            terms += abs(c[a]) * math.sqrt(size)
    return F_inf if F_inf > (DIFFUSE_TOLERANCE * terms) ** 2 else 0.0


@jit(counted=False)
def _forget_direction(W, rank, share, F_inf):
    """Reflect the columns of W so that `share` comes to lie along the last one (Householder), and remove that one."""
    last = rank - 1
    length = math.sqrt(F_inf)
    share[last] += length if share[last] >= 0.0 else -length
    norm = 2.0 * length * abs(share[last])
    for a in range(W.shape[0]):
        along = 0.0
        for k in range(rank):
            along += W[a, k] * share[k]
        for k in range(last):
            W[a, k] -= 2.0 * along / norm * share[k]
        W[a, last] = 0.0


@jit(counted=False)
def _learn_entry(c, d, value, m, P, size, W, reach, rank, gain, gain_inf, share):
    """Learn one entry with row c and error variance d. Returns its log density and a code: 0 fine, 1 it used up diffuseness, 2 degenerate.

    `size` (n,) is the diagonal of P before the step's first entry: what remains of P after other entries is rounded to that scale.
    """
    n = m.shape[0]
    error, F, scale = value, d, d
    for a in range(n):
        error -= c[a] * m[a]
        total = 0.0
        for b in range(n):
            total += P[a, b] * c[b]
        gain[a] = total
        F += c[a] * total
        scale += c[a] * c[a] * size[a]
    F_inf = _diffuse_part(c, W, reach, rank, share) if rank else 0.0
    if F_inf > 0.0:
        for a in range(n):
            gain_inf[a] = 0.0
            for k in range(rank):
                gain_inf[a] += W[a, k] * share[k]
            m[a] += gain_inf[a] / F_inf * error
        for a in range(n):
            for b in range(a + 1):
                product = gain_inf[a] * gain_inf[b] / F_inf
                P[a, b] += product * (F / F_inf) - (gain[a] * gain_inf[b] + gain_inf[a] * gain[b]) / F_inf
                P[b, a] = P[a, b]
        _forget_direction(W, rank, share, F_inf)
        return -0.5 * (LOG_2PI + math.log(F_inf)), 1
    if not DEGENERATE_TOLERANCE * scale < F:
        return -np.inf, 2
    inverse = 1.0 / F
    for a in range(n):
        m[a] += gain[a] * inverse * error
        for b in range(n):
            P[a, b] -= gain[a] * gain[b] * inverse
    return -0.5 * (LOG_2PI + math.log(F) + error * error / F), 0


@jit(counted=False)
def _move_columns(A, W, work):
    """W ← A W."""
    n, d = W.shape
    for a in range(n):
        for k in range(d):
            work[a, k] = 0.0
        for b in range(n):
            weight = A[a, b]
            if weight != 0.0:
                for k in range(d):
                    work[a, k] += weight * W[b, k]
    for a in range(n):
        for k in range(d):
            W[a, k] = work[a, k]


@jit(counted=False)
def directions(W):
    """How many columns of W are left: those up to the last that is not zero."""
    rank = W.shape[1]
    while rank > 0:
        for a in range(W.shape[0]):
            if W[a, rank - 1] != 0.0:
                return rank
        rank -= 1
    return rank


@jit(counted=False)
def _store_diffuse(C, W, reach, rank, share, out, t):
    """out[t, j]: whether the prediction of entry j has infinite variance."""
    for j in range(C.shape[0]):
        out[t, j] = _diffuse_part(C[j], W, reach, rank, share) > 0.0


@jit(counted=False)
def _store_diffuse_states(W, reach, rank, share, unit, out, t):
    """out[t, a]: whether state a still has infinite variance."""
    for a in range(W.shape[0]):
        unit[a] = 1.0
        out[t, a] = _diffuse_part(unit, W, reach, rank, share) > 0.0
        unit[a] = 0.0


@jit(counted=False)
def _learn(y, t, seen, k, low, D, Cs, ys, m, P, size, W, reach, rank, gain, gain_inf, share):
    """All observed entries of step t. Returns the log density, how many diffuse directions are left, and whether an entry was degenerate."""
    total, degenerate = 0.0, False
    diagonal(P, size)
    for i in range(k):
        value = y[t, seen[i]]
        for h in range(i):
            value -= low[i, h] * ys[h]
        ys[i] = value
        density, code = _learn_entry(Cs[i], D[i], value, m, P, size, W, reach, rank, gain, gain_inf, share)
        total += density
        if code == 1:
            rank -= 1
        elif code == 2:
            degenerate = True
    return total, rank, degenerate


@jit
def filter_diffuse(
    y,
    start,
    stop,
    offset,
    A,
    C,
    Q,
    R,
    S,
    m,
    P,
    W,
    reach,
    log_prob,
    store,
    mean_pred,
    cov_pred,
    mean_filt,
    cov_filt,
    diffuse_pred,
    diffuse_filt,
):
    """Filter from row start for as long as a direction is diffuse. Returns the first row that is left, and 2 if degenerate, else 0."""
    p, n, rank = y.shape[1], A.shape[0], directions(W)
    if rank == 0:
        return start, 0
    cross = any_nonzero(S)
    seen, k = np.zeros(p, np.int64), -1
    low, D, Cs, ys = np.zeros((p, p)), np.zeros(p), np.zeros((p, n)), np.zeros(p)
    G, Ab, Qb = np.zeros((n, p)), np.empty((n, n)), np.empty((n, n))
    transition(A, Q, Cs, G, D, 0, Ab, Qb)
    index, count, At = np.empty((n, n), np.int64), np.empty(n, np.int64), np.empty((n, n))
    list_moves(Ab, index, count, At)
    gain, gain_inf, moved, size, share = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(rank)
    work, unit = np.empty((n, n)), np.zeros(n)
    status = 0
    for t in range(start, stop):
        if rank == 0:
            return t, status
        k, changed = see(y, t, seen, k)
        if changed:
            decorrelate(C, R, S, seen, k, low, D, Cs, G, cross)
            if cross:
                transition(A, Q, Cs, G, D, k, Ab, Qb)
                list_moves(Ab, index, count, At)
        if store:
            store_moments(m, P, mean_pred, cov_pred, t)
            _store_diffuse(C, W, reach, rank, share, diffuse_pred, t)
        density, rank, degenerate = _learn(
            y, t, seen, k, low, D, Cs, ys, m, P, size, W, reach, rank, gain, gain_inf, share
        )  # fmt: skip
        log_prob[t] = density
        if degenerate:
            status = 2
        if store and mean_filt.shape[0] > 0:
            store_moments(m, P, mean_filt, cov_filt, t)
            _store_diffuse_states(W, reach, rank, share, unit, diffuse_filt, t)
        move_mean(At, G, offset, t, ys, k, cross, m, moved)
        sandwich(Ab, index, count, P, Qb, work, P)
        _move_columns(Ab, W, work)
        _move_columns(Ab, reach, work)
    return stop, status
