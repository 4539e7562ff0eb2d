"""The Kalman filter and smoother where the matrices change from row to row: runs of rows with the same matrices, one after another.

`which` (rows,) says which of the stacked matrices As (G, n, n), Cs (G, p, n), Qs, Rs, Ss belong to each row; x[t+1] = A[which[t]] x[t] + …
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.gradient import gradient_rows, new_system, new_tables
from statewise.kernels.kalman import filter_packed
from statewise.kernels.respond import respond_run
from statewise.kernels.score import Sums
from statewise.kernels.smoother import Wanted, new_room, rows_back


@jit
def _end_of_run(which, t, stop):
    """The first row after t with other matrices than t's, or `stop`."""
    now = which[t]
    while t < stop and which[t] == now:
        t += 1
    return t


@jit
def _start_of_run(which, t, start):
    """The first row of the run that ends before row t."""
    now = which[t - 1]
    while t > start and which[t - 1] == now:
        t -= 1
    return t


@jit
def filter_runs(
    first, last, y, offsets, which, offset, As, Cs, Qs, Rs, Ss, means, covs, W, reach,
    log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt, statuses, settle,
):  # fmt: skip
    """As `kalman.filter_packed`; with `settle`, a covariance that has settled is held to the end of its run. cov_pred has every row."""
    run, status, steady = np.empty(2, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    for i in range(first, last):
        t, stop = offsets[i], offsets[i + 1]
        statuses[i] = 0
        while t < stop:
            run[0], run[1] = t, _end_of_run(which, t, stop)
            g = which[t]
            filter_packed(
                0, 1, y, run, offset, As[g], Cs[g], Qs[g], Rs[g], Ss[g], means[i : i + 1], covs[i : i + 1], W[i : i + 1], reach[i : i + 1],
                log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt, status,
                settle and (not store or mean_filt.shape[0] > 0), steady,
            )  # fmt: skip
            statuses[i] = max(statuses[i], status[0])
            t = run[1]


@jit
def backward_runs(
    first, last, y, offsets, which, As, Cs, Qs, Rs, Ss, mean_pred, cov_pred, response, r, N, mean, cov, lag_cov,
    errors, shocks, information, status,
):  # fmt: skip
    """As `smoother.backward_packed`."""
    d, n = response.shape[2], As.shape[1]
    out = Wanted(mean, cov, lag_cov, errors, shocks, information)
    for i in range(first, last):
        start, t = offsets[i], offsets[i + 1]
        final = t - 1
        rs, z_next = np.zeros((d, n)), np.zeros((d, n))
        while t > start and status[i] < 2:
            low, g = _start_of_run(which, t, start), which[t - 1]
            room = new_room(As[g], Cs.shape[1])
            code = rows_back(
                y,
                low,
                t,
                final,
                t,
                False,
                Cs[g],
                Rs[g],
                Ss[g],
                mean_pred,
                cov_pred,
                response,
                r[i],
                N[i],
                rs,
                z_next,
                out,
                room,
            )
            status[i] = max(status[i], code)
            t = low


@jit
def gradient_runs(
    first, last, y, offsets, which, As, Cs, Qs, Rs, Ss, mean_pred, cov_pred, response, r, N,
    gA, gC, gQ, gR, gS, gb, gd, errors, shocks, status,
):  # fmt: skip
    """As `gradient.gradient_packed`; the gradients gA … gd are stacks (G, …) as the matrices are."""
    d, n = response.shape[2], As.shape[1]
    tables = new_tables(n, Cs.shape[1], 0)
    for i in range(first, last):
        start, t, good, rs = offsets[i], offsets[i + 1], True, np.zeros((d, n))
        while t > start and good:
            low, k = _start_of_run(which, t, start), which[t - 1]
            f, g = new_system(As[k], Cs[k], Rs[k], Ss[k]), Sums(gA[k], gC[k], gQ[k], gR[k], gS[k], gb[k], gd[k])
            good, tables = gradient_rows(
                y, low, t, t, f, mean_pred, cov_pred, response, r[i], N[i], rs, g, errors, shocks, tables
            )
            t = low
        status[i] = 0 if good else 2


@jit
def respond_runs(
    first, last, y, offsets, which, As, Cs, Rs, Ss, mean_pred, cov_pred, W, response, score, information, status
):
    """As `respond.respond_packed`."""
    for i in range(first, last):
        t, stop, X = offsets[i], offsets[i + 1], W.copy()
        while t < stop and status[i] == 0:
            end, g = _end_of_run(which, t, stop), which[t]
            status[i] = respond_run(
                y, t, end, end, As[g], Cs[g], Rs[g], Ss[g], mean_pred, cov_pred, X, response, score[i], information[i]
            )
            t = end
