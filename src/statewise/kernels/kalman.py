"""The Kalman filter, one observed entry at a time.

Sources: Durbin & Koopman, *Time Series Analysis by State Space Methods*, 2nd ed. (2012), §6.4 (univariate treatment) and
§5.2 (exact initial filter); Koopman & Durbin, J. Time Series Analysis 21 (2000). Letters as in DESIGN: state
x[t+1] = A x[t] + offset[t] + w[t], observation y[t] = C x[t] + v[t], Cov(w, v) = [[Q, S], [S', R]]. The observation's own
offset is subtracted from `y` before a kernel sees it. NaN in `y` is a missing entry.

Correlated errors are removed first. For the entries that are seen, R = L D L' gives y* = L⁻¹ y with independent errors, and
w = G y*-error + w' with G = S L⁻ᵀ D⁻¹ leaves w' independent of the observation, so that the state moves with A − G C* and Q − G D G'.

A start with diffuse directions is the subject of `statewise.kernels.diffuse`; here nothing is diffuse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.diffuse import directions, filter_diffuse
from statewise.kernels.known import dense_sandwich, learn_known
from statewise.kernels.lanes import LANES, lanes_run
from statewise.kernels.steady import (
    STRETCH,
    distance,
    is_near,
    same,
    steady_map,
    steady_run,
    units_of,
    will_stay,
)
from statewise.kernels.step import (
    any_nonzero,
    copy,
    decorrelate,
    list_moves,
    move_mean,
    sandwich,
    see,
    store_moments,
    transition,
)

PATH = 256  # steps at most, and
PATH_STATES = 8  # states at most, for which the covariances of one sequence are kept for those that follow


class _Room(NamedTuple):
    """What a pass over complete and incomplete rows works in: p entries, n states."""

    seen: np.ndarray
    low: np.ndarray
    Cs: np.ndarray
    G: np.ndarray
    Ab: np.ndarray
    Qb: np.ndarray
    At: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    D: np.ndarray
    ys: np.ndarray
    z: np.ndarray
    sd: np.ndarray
    u: np.ndarray
    ut: np.ndarray
    moved: np.ndarray
    size: np.ndarray
    work: np.ndarray
    x: np.ndarray


class _Limit(NamedTuple):
    """The steady state: P before and after an observation, the scaled gains, the map of a step, the scales of the states; the P that was
    looked at last, and zeros (n,).
    """

    P: np.ndarray
    P_filt: np.ndarray
    u: np.ndarray
    M: np.ndarray
    unit: np.ndarray
    before: np.ndarray
    floor: np.ndarray


class _Path(NamedTuple):
    """The covariances that a sequence went through while nothing was missing, and what serves others that start alike (see `lanes`)."""

    covs: np.ndarray
    maps: np.ndarray
    constants: np.ndarray
    done: np.ndarray
    who: np.ndarray
    X: np.ndarray
    Z: np.ndarray


@jit
def _room(n, p):
    return _Room(
        np.zeros(p, np.int64), np.zeros((p, p)), np.zeros((p, n)), np.zeros((n, p)), np.empty((n, n)), np.empty((n, n)),
        np.empty((n, n)), np.empty((n, n), np.int64), np.empty(n, np.int64), np.zeros(p), np.zeros(p), np.zeros(p), np.zeros(p),
        np.zeros((p, n)), np.empty((n, p)), np.empty(n), np.empty(n), np.empty((n, n)), np.empty(n + p),
    )  # fmt: skip


@jit
def _new_limit(n, p):
    return _Limit(
        np.empty((n, n)), np.empty((n, n)), np.empty((p, n)), np.empty((n + p, n + p)), np.empty(n), np.empty((n, n)), np.zeros(n)
    )  # fmt: skip


@jit
def _new_path(n, p, keep, count):
    lanes = LANES if keep else 0
    return _Path(
        np.zeros((keep + 1, n, n)), np.empty((keep, n + p, n + p)), np.empty(keep), np.zeros(count, np.int64),
        np.empty(lanes, np.int64), np.empty((n + p, lanes)), np.empty((n + p, lanes)),
    )  # fmt: skip


@jit(counted=False)
def _new_moves(A, Q, k, room):
    """The transition given that k entries are seen. Returns whether it is dense."""
    transition(A, Q, room.Cs, room.G, room.D, k, room.Ab, room.Qb)
    return list_moves(room.Ab, room.columns, room.counts, room.At)


@jit(fast=True, counted=False)
def _filter_known(
    first, last, y, begins, ends, offset, A, C, Q, R, S, means, covs, log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt,
    statuses, settle, steady_rows, room, limit, path,
):  # fmt: skip
    """Filter each sequence from the row begins[i], where nothing is diffuse, to its end."""
    p, keep = y.shape[1], path.constants.shape[0]
    cross, filtered = any_nonzero(S), mean_filt.shape[0] > 0
    k, dense = -1, _new_moves(A, Q, 0, room)
    known_limit, limit_constant, horizon = False, 0.0, 0.0
    kept, path_settled, group = 0, False, first
    for i in range(first, last):
        t, stop, m, P, status = begins[i], ends[i], means[i], covs[i], statuses[i]
        if keep and i == group:
            group = min(last, i + LANES) if kept else i + 1
            for s in range(i, group):
                path.done[s] = 0 if kept and same(covs[s], path.covs[0]) else -1
            if kept:
                lanes_run(
                    i, group, y, begins, ends, offset, path.maps, path.constants, kept, path_settled and horizon == np.inf,
                    means, path.done, path.who, path.X, path.Z, log_prob,
                )  # fmt: skip
        on_path = False
        if keep:
            if kept == 0:
                copy(P, path.covs[0])
                path.done[i] = 0
            on_path = path.done[i] == kept and not path_settled
            if path.done[i] > 0:
                t += path.done[i]
                copy(path.covs[min(path.done[i], kept)], P)
        steady_from, complete, constant, constant_before = stop, 0, 0.0, 0.0
        change, change_before, change_last = np.inf, np.inf, np.inf
        if t == stop and keep and path_settled and path.done[i] >= kept:
            steady_from = begins[i] + kept
        while t < stop:
            k, changed = see(y, t, room.seen, k)
            if changed:
                decorrelate(C, R, S, room.seen, k, room.low, room.D, room.Cs, room.G, cross)
                if cross:
                    dense = _new_moves(A, Q, k, room)
            here = False
            on_path = on_path and k == p and kept < keep
            if k < p or not settle:
                complete, change_before = 0, np.inf
            elif known_limit and stop - t <= horizon:
                if is_near(P, limit.P, limit.unit):
                    copy(limit.P, P)
                    steady_from = t
                    if store and not filtered:
                        copy(P, cov_pred[t])
                    t = steady_run(
                        y, t, stop, offset, limit.M, limit.u, limit_constant, m, P, limit.P_filt, room.x, log_prob,
                        store, mean_pred, cov_pred, mean_filt, cov_filt,
                    )  # fmt: skip
                    if t < stop:
                        if store and not filtered:
                            for passed in range(steady_from, t):
                                copy(P, cov_pred[passed])
                        steady_from = stop
                    continue
            else:
                if complete % STRETCH == 0:
                    if complete > STRETCH:
                        moved = distance(P, limit.before, Q, limit.floor, room.size, np.inf)
                        change = max(moved, abs(constant - constant_before))
                        here = will_stay(change, change_before, (stop - t) / STRETCH)
                        change_last, change_before = change_before, change
                    copy(P, limit.before)
                    constant_before = constant
                complete += 1
            if here:
                copy(P, limit.P)
            if store:
                store_moments(m, P, mean_pred, cov_pred, t)
            log_prob[t], constant, code = learn_known(
                y, t, room.seen, k, room.low, room.D, room.Cs, room.ys, m, P, room.size, room.u, room.ut, room.z, room.sd, room.work
            )  # fmt: skip
            status = max(status, code)
            if filtered:
                store_moments(m, P, mean_filt, cov_filt, t)
            move_mean(room.At, room.G, offset, t, room.ys, k, cross, m, room.moved)
            on_path = on_path and code == 0
            if on_path:
                _map_of(room, path.maps[kept])
                path.constants[kept] = constant
                kept += 1
            if here and code < 2:
                _map_of(room, limit.M)
                copy(P, limit.P_filt)
                copy(room.u, limit.u)
                copy(limit.P, P)
                units_of(limit.P, Q, limit.unit)
                known_limit, limit_constant, path_settled = True, constant, path_settled or on_path
                horizon = np.inf if will_stay(change, change_last, np.inf) else stop - t
                if t + 1 == stop:
                    steady_from = t
            elif dense:
                dense_sandwich(room.Ab, room.At, P, room.Qb, room.work, P)
            else:
                sandwich(room.Ab, room.columns, room.counts, P, room.Qb, room.work, P)
            if on_path:
                copy(P, path.covs[kept])
            t += 1
        statuses[i], steady_rows[i] = status, steady_from


@jit(counted=False)
def _map_of(room, M):
    steady_map(room.low, room.Cs, room.Ab, room.G, room.u, room.sd, room.x, room.ys, room.z, M)


@jit
def filter_packed(
    first,
    last,
    y,
    offsets,
    offset,
    A,
    C,
    Q,
    R,
    S,
    means,
    covs,
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
    statuses,
    settle,
    steady_rows,
):
    """Filter the packed sequences `first` to `last` (exclusive), so that threads can share the work.

    Args:
        y: (rows, p) observations less their offset, NaN where missing.
        offsets: (N + 1,) where each sequence starts.
        offset: (rows, n) or (1, n) state offsets.
        A, C, Q, R, S: the system.
        means, covs, W: (N, n), (N, n, n), (N, n, d) the start, overwritten by the prediction after the last step; W is zero once nothing is diffuse.
        reach: (N, n, d) a copy of W on entry; on exit the scale of its rounding errors.
        log_prob: (rows,) out: log density of each step given the steps before it.
        store: whether the (rows, …) arrays that follow are filled; they may be empty otherwise. With mean_filt and cov_filt empty
            cov_pred holds no rows after the first of a steady state that lasts to the end.
        diffuse_pred, diffuse_filt: (rows, p), (rows, n) out: whether an observation is predicted, and a state filtered, with infinite variance;
            False on entry.
        statuses: (N,) out: 2 where an innovation variance was zero, 1 where one had lost more than half of its digits.
        settle: whether a covariance that has settled is held constant (see `statewise.kernels.steady`).
        steady_rows: (N,) out: the step of each sequence from which the prediction's covariance is constant to the end; its length if none.
    """
    count, p, n = len(offsets) - 1, y.shape[1], A.shape[0]
    begins = offsets[:-1].copy()
    for i in range(first, last):
        statuses[i] = 0
        if directions(W[i]) > 0:
            begins[i], statuses[i] = filter_diffuse(
                y, offsets[i], offsets[i + 1], offset, A, C, Q, R, S, means[i], covs[i], W[i], reach[i], log_prob,
                store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt,
            )  # fmt: skip
    keep = PATH if settle and not store and last - first > 1 and n <= PATH_STATES else 0
    _filter_known(
        first, last, y, begins, offsets[1:], offset, A, C, Q, R, S, means, covs, log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt,
        statuses, settle, steady_rows, _room(n, p), _new_limit(n, p), _new_path(n, p, keep, count if keep else 0),
    )  # fmt: skip
    for i in range(first, last):
        steady_rows[i] -= offsets[i]
