"""Many sequences whose covariance moves alike: the filter of up to `LANES` of them side by side, a step of all of them at a time.

As long as nothing is missing, the covariance depends on the system and the start alone. What the first sequence leaves of each of its
steps, one matrix and one constant (see `statewise.kernels.steady`), then serves the others, and only their means are left to do.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit

LANES = 64  # sequences side by side: their means stay in the innermost cache, and loops over them are long enough to be worth starting


@jit(counted=False)
def _leave(lane, active, step, means, who, X, done):
    """The sequence in `lane` goes no further than `step`; the last lane takes its place. Returns how many are left."""
    i = who[lane]
    done[i] = step
    active -= 1
    for a in range(means.shape[1]):
        means[i, a] = X[a, lane]
    who[lane] = who[active]
    for a in range(X.shape[0]):
        X[a, lane] = X[a, active]
    return active


@jit(counted=False)
def _enter(y, begins, ends, step, active, means, who, X, done):
    """Take the rows of this step, and let those sequences go that have ended or lack an entry. Returns how many are left."""
    n, p, lane = means.shape[1], y.shape[1], 0
    while lane < active:
        t = begins[who[lane]] + step
        complete = t < ends[who[lane]]
        if complete:
            for j in range(p):
                X[n + j, lane] = y[t, j]
                complete = complete and not np.isnan(y[t, j])
        if complete:
            lane += 1
        else:
            active = _leave(lane, active, step, means, who, X, done)
    return active


@jit(fast=True, counted=False)
def _advance(M, constant, offset, begins, step, active, n, who, X, Z, log_prob):
    """[m next; z] = M' [m; y] in every lane, and the log densities of the step."""
    size, moving = X.shape[0], offset.shape[0] > 1
    for i in range(size):
        for lane in range(active):
            Z[i, lane] = 0.0
        if i < n:
            for lane in range(active):
                Z[i, lane] = offset[begins[who[lane]] + step if moving else 0, i]
        for j in range(size):
            weight = M[j, i]
            for lane in range(active):
                Z[i, lane] += weight * X[j, lane]
    for i in range(n):
        for lane in range(active):
            X[i, lane] = Z[i, lane]
    for lane in range(active):
        Z[0, lane] = 0.0
    for i in range(n, size):
        for lane in range(active):
            Z[0, lane] += Z[i, lane] * Z[i, lane]
    for lane in range(active):
        log_prob[begins[who[lane]] + step] = constant - 0.5 * Z[0, lane]


@jit(counted=False)
def lanes_run(first, last, y, begins, ends, offset, maps, constants, kept, settled, means, done, who, X, Z, log_prob):
    """Filter the sequences `first` to `last` (exclusive) whose `done` is 0, as far as their rows are complete and the maps go.

    Args:
        y, offset, log_prob: as in `kalman.filter_packed`.
        begins, ends: (N,) the rows that each sequence goes from and to.
        maps, constants: (kept, n + p, n + p), (kept,) of each step; where `settled`, the last holds for all that follow.
        means: (N, n) the predictions, moved.
        done: (N,) out: how many steps each sequence went; one that is not 0 on entry stays out.
        who, X, Z: (LANES,), (n + p, LANES) twice, room to work in.
    """
    n, active, step = means.shape[1], 0, 0
    for i in range(first, last):
        if done[i] == 0:
            who[active] = i
            for a in range(n):
                X[a, active] = means[i, a]
            active += 1
    while active > 0 and (settled or step < kept):
        active = _enter(y, begins, ends, step, active, means, who, X, done)
        at = min(step, kept - 1)
        _advance(maps[at], constants[at], offset, begins, step, active, n, who, X, Z, log_prob)
        step += 1
    while active > 0:
        active = _leave(active - 1, active, step, means, who, X, done)
