"""The backward pass over rows whose gain is constant and whose N has settled: a linear recursion in r, and products of whole blocks of rows.

Letters and equations as in `statewise.kernels.smoother`. With P, K, F and N constant, only r ← C' F⁻¹ v + L' r is sequential; the errors,
the smoothed means and the sums of the gradient are products of blocks of rows.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit

BLOCK = 256  # rows whose vectors are multiplied at once
NEGLIGIBLE = 1e-20  # a diffuse start's share of a variance, from which on it is not carried along


@jit(fast=True)
def _run_back(forcing, L, z):
    """z[i] = forcing[i] + L' z[i + 1], from the last row to the first; the last row of z is given."""
    rows, n = forcing.shape
    for i in range(rows - 1, -1, -1):
        for b in range(n):
            z[i, b] = forcing[i, b]
        for a in range(n):
            weight = z[i + 1, a]
            for b in range(n):
                z[i, b] += weight * L[a, b]


@jit
def _innovations(y, mean, C, low, high, v):
    """v[i] = y[low + i] − C mean[low + i]."""
    p, n = C.shape
    for t in range(low, high):
        for j in range(p):
            value = y[t, j]
            for a in range(n):
                value -= C[j, a] * mean[t, a]
            v[t - low, j] = value


@jit
def _add(X, share, out):
    """out ← out + share · X."""
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[a, b] += share * X[a, b]


@jit
def _add_sums(r, e, x, gA, gC, gQ, gR, gS, gb):
    """Add the products of the r, e and x̂ of some rows to the gradients."""
    rt, et = r.T, e.T
    _add(np.dot(rt, x), 1.0, gA)
    _add(np.dot(rt, r), 0.5, gQ)
    _add(np.dot(rt, e), 1.0, gS)
    _add(np.dot(et, x), 1.0, gC)
    _add(np.dot(et, e), 0.5, gR)
    for i in range(r.shape[0]):
        for a in range(r.shape[1]):
            gb[a] += r[i, a]


@jit
def run_back(y, low, stop, C, mean_pred, P, Finv, K, L, r, with_gradient, mean, errors, shocks, gA, gC, gQ, gR, gS, gb):
    """Rows stop − 1 down to `low`, all complete; r moves. Fills what is wanted of mean, errors and shocks, and adds the products to the gradients."""
    n, p = r.shape[0], y.shape[1]
    with_states, with_noise = mean.shape[0] > 0, shocks.shape[0] > 0
    size = min(BLOCK, stop - low)
    v, z = np.empty((size, p)), np.empty((size + 1, n))
    forcing, scaled, e, x = np.empty((size, n)), np.empty((size, p)), np.empty((size, p)), np.empty((size, n))
    high = stop
    while high > low:
        start = max(low, high - size)
        count = high - start
        _innovations(y, mean_pred, C, start, high, v)
        np.dot(v[:count], Finv, scaled[:count])
        np.dot(scaled[:count], C, forcing[:count])
        z[count] = r
        _run_back(forcing[:count], L, z)
        np.dot(z[1 : count + 1], K, e[:count])
        for i in range(count):
            for j in range(p):
                e[i, j] = scaled[i, j] - e[i, j]
        if with_states or with_gradient:
            np.dot(z[:count], P, x[:count])
            for i in range(count):
                for a in range(n):
                    x[i, a] += mean_pred[start + i, a]
        if with_gradient:
            _add_sums(z[1 : count + 1], e[:count], x[:count], gA, gC, gQ, gR, gS, gb)
        if with_states:
            mean[start:high] = x[:count]
        if with_gradient or with_noise:
            errors[start:high] = e[:count]
        if with_noise:
            shocks[start:high] = z[1 : count + 1]
        r[:] = z[0]
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
