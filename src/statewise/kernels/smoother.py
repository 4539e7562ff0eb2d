"""The backward pass of the Kalman smoother, with the equations of the exact gradient of the log-likelihood (`statewise.kernels.gradient`).

With K = (A P C' + S) F⁻¹ and L = A − K C, going back in time,
    r ← C' F⁻¹ v + L' r,    N ← C' F⁻¹ C + L' N L,
the smoothed state is m + P r with covariance P − P N P (Durbin & Koopman 2012, §4.4). With e = F⁻¹ v − K' r the log-likelihood's gradients are
    ∂/∂b = Σ r,  ∂/∂d = Σ e,  ∂/∂A = Σ r x̂' − N L P,  ∂/∂C = Σ e x̂' − (F⁻¹ C − K' N L) P,
    ∂/∂Q = ½ Σ r r' − N,  ∂/∂S = Σ r e' + N K,  ∂/∂R = ½ Σ e e' − F⁻¹ − K' N K,  ∂/∂m0 = r₀,  ∂/∂P0 = ½ (r₀ r₀' − N₀)
(Koopman & Shephard, Biometrika 79 (1992), extended to correlated errors). Q, R and P0 are differentiated as if their entries were free.
The lag-one covariance is Cov(x[t+1], x[t] | Y) = (I − P[t+1] N) L P, and (r, e) have covariance [[N, −N K], [−K' N, F⁻¹ + K' N K]], from which the
moments of the noise given all observations follow (Durbin & Koopman 2012, §4.5 and §4.7).

A diffuse start x[1] = m0 + W δ is carried along as the response X of the prediction to δ, X ← L X from X = W: given δ everything above holds, and
what is linear in δ has a response of its own, by the same recursion with −C X in the place of v. With δ ~ N(δ̂, Δ) given the
observations, means are taken at δ̂, and X times a root of Δ gives what δ adds to each covariance and to each expected product
(de Jong, Annals of Statistics 19 (1991)). The gradient is the expectation of the gradient given δ (Fisher's identity).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.closed_loop import Loop, gain, information_before, new_loop, observed, times_loop
from statewise.kernels.known import multiply
from statewise.kernels.score import no_sums
from statewise.kernels.steady import STRETCH, distance, will_stay
from statewise.kernels.steady_backward import negligible_from, run_back
from statewise.kernels.step import copy

LARGEST_TERM = 1e8  # of a state's P N: P − P N P is then the remainder of terms that many times larger, and half of its digits are left


@jit(fast=True, counted=False)
def _step_back(C, loop, k, v, r, e, before):
    """e = F⁻¹ v − K' r and before = C' e + A' r: the error of one step and the r of the step before."""
    n = C.shape[1]
    for i in range(k):
        e[i] = 0.0
        for j in range(k):
            e[i] += loop.Finv[i, j] * v[j]
        for a in range(n):
            e[i] -= loop.K[a, i] * r[a]
    for a in range(n):
        before[a] = 0.0
    for i in range(k):
        for a in range(n):
            before[a] += C[loop.seen[i], a] * e[i]
    for b in range(n):
        weight = r[b]
        for a in range(n):
            before[a] += loop.A[b, a] * weight


@jit(fast=True, counted=False)
def _smooth_state(m, P, r, x):
    """x = m + P r."""
    n = m.shape[0]
    for a in range(n):
        x[a] = m[a]
    for b in range(n):
        weight = r[b]
        for a in range(n):
            x[a] += weight * P[b, a]


@jit(counted=False)
def _store_noise(seen, k, Finv, K, r, N, e, errors, information, t):
    """errors[t] = e, and information[t] = Cov(r, e)."""
    n = r.shape[0]
    for a in range(n):
        for b in range(n):
            information[t, a, b] = N[a, b]
    for i in range(k):
        errors[t, seen[i]] = e[i]
        row = n + seen[i]
        for a in range(n):
            total = 0.0
            for b in range(n):
                total -= N[a, b] * K[b, i]
            information[t, a, row] = total
            information[t, row, a] = total
    for i in range(k):
        for j in range(k):
            total = Finv[i, j]
            for a in range(n):
                total -= K[a, i] * information[t, a, n + seen[j]]
            information[t, n + seen[i], n + seen[j]] = total


@jit(counted=False)
def _spread_noise(seen, k, r, e, information, t):
    """Take the part of one direction of δ off information[t]."""
    n = r.shape[0]
    for a in range(n):
        for b in range(n):
            information[t, a, b] -= r[a] * r[b]
        for i in range(k):
            information[t, a, n + seen[i]] -= r[a] * e[i]
            information[t, n + seen[i], a] -= r[a] * e[i]
    for i in range(k):
        for j in range(k):
            information[t, n + seen[i], n + seen[j]] -= e[i] * e[j]


@jit(counted=False)
def _smooth_cov(P, N, NP, PNP, out, t):
    """out[t] = P − P N P. Returns 1 if the terms of that cancel by more than half of their digits, else 0."""
    n = P.shape[0]
    code = 0
    for a in range(n):
        if P[a, a] * N[a, a] > LARGEST_TERM:
            code = 1
    multiply(N, P, NP)
    multiply(P, NP, PNP)
    for a in range(n):
        for b in range(n):
            out[t, a, b] = P[a, b] - 0.5 * (PNP[a, b] + PNP[b, a])
    return code


@jit(counted=False)
def _lag_cov(L, P, P_next, NLP, work, out, t):
    """out[t] = (I − P[t+1] N) L P."""
    multiply(L, P, out[t])
    multiply(P_next, NLP, work)
    for a in range(P.shape[0]):
        for b in range(P.shape[0]):
            out[t, a, b] -= work[a, b]


@jit(counted=False)
def _add_product(x, z, out, t):
    for a in range(x.shape[0]):
        for b in range(z.shape[0]):
            out[t, a, b] += x[a] * z[b]


class _Room(NamedTuple):
    """What a step back works in: p entries, n states."""

    loop: Loop
    NLP: np.ndarray
    PNP: np.ndarray
    settled: np.ndarray
    v: np.ndarray
    e: np.ndarray
    before: np.ndarray
    x: np.ndarray
    along: np.ndarray
    floor: np.ndarray
    unit: np.ndarray


class Wanted(NamedTuple):
    """What a pass fills, each empty where it is not wanted: see `backward_packed`."""

    mean: np.ndarray
    cov: np.ndarray
    lag_cov: np.ndarray
    errors: np.ndarray
    shocks: np.ndarray
    information: np.ndarray


@jit
def new_room(A, p):
    n = A.shape[0]
    return _Room(
        new_loop(A, p), np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty(p), np.empty(p), np.empty(n), np.empty(n),
        np.empty(n), np.zeros(n), np.empty(n),
    )  # fmt: skip


@jit(counted=False)
def _constant_back(low, stop, last, C, P, N, out, room):
    """N and the covariances of rows stop − 1 down to `low`, complete and of the gain in `room`; `last` is the last row of the sequence.

    Returns as `rows_back`.
    """
    n, p = C.shape[1], C.shape[0]
    with_states, with_lags, with_noise = out.mean.shape[0] > 0, out.lag_cov.shape[0] > 0, out.information.shape[0] > 0
    loop, settled = room.loop, room.settled
    moved, moved_before, code, held = np.inf, np.inf, 0, False
    for a in range(n):
        for b in range(n):
            settled[a, b] = 0.0
    for t in range(stop - 1, low - 1, -1):
        if held:
            if with_noise:
                copy(out.information[t + 1], out.information[t])
            if with_lags:
                copy(out.lag_cov[t + 1], out.lag_cov[t])
            if with_states:
                copy(out.cov[t + 1], out.cov[t])
            continue
        if t < stop - 1 and (stop - 1 - t) % STRETCH == 0:
            moved_before, moved = moved, distance(N, settled, settled, room.floor, room.unit, np.inf)
            copy(N, settled)
            held = will_stay(moved, moved_before, (t - low + 1) / STRETCH)
        times_loop(C, p, N, loop)
        if with_noise:
            _store_noise(
                loop.seen, p, loop.Finv, loop.K, out.shocks[t], N, out.errors[t], out.errors, out.information, t
            )
        if with_lags and t < last:
            multiply(loop.NL, P, room.NLP)
            _lag_cov(loop.L, P, P, room.NLP, room.PNP, out.lag_cov, t)
        if not held:
            information_before(C, p, N, loop)
        if with_states:
            code = max(code, _smooth_cov(P, N, room.NLP, room.PNP, out.cov, t))
    return code


@jit(counted=False)
def _spread_back(t, k, last, C, P, response, rs, z_next, out, room):
    """What the directions of δ add to row t; rs and z_next move."""
    n = C.shape[1]
    loop, v, e, before, x, along = room.loop, room.v, room.e, room.before, room.x, room.along
    for h in range(rs.shape[0]):
        for a in range(n):
            along[a] = response[t, a, h]
        for i in range(k):
            v[i] = 0.0
            for a in range(n):
                v[i] -= C[loop.seen[i], a] * along[a]
        _step_back(C, loop, k, v, rs[h], e, before)
        _smooth_state(along, P, before, x)
        if out.information.shape[0] > 0:
            _spread_noise(loop.seen, k, rs[h], e, out.information, t)
        if out.lag_cov.shape[0] > 0 and t < last:
            _add_product(z_next[h], x, out.lag_cov, t)
        if out.mean.shape[0] > 0:
            _add_product(x, x, out.cov, t)
        for a in range(n):
            rs[h, a] = before[a]
            z_next[h, a] = x[a]


@jit(counted=False)
def _row_back(t, k, last, y, C, m, P, P_next, r, N, out, room):
    """Row t, of the gain in `room`; r and N move. Returns as `rows_back`."""
    n, code = C.shape[1], 0
    loop, v, e, before = room.loop, room.v, room.e, room.before
    for i in range(k):
        v[i] = y[t, loop.seen[i]]
        for a in range(n):
            v[i] -= C[loop.seen[i], a] * m[a]
    _step_back(C, loop, k, v, r, e, before)
    times_loop(C, k, N, loop)
    if out.errors.shape[0] > 0:
        for i in range(k):
            out.errors[t, loop.seen[i]] = e[i]
    if out.shocks.shape[0] > 0:
        for a in range(n):
            out.shocks[t, a] = r[a]
    if out.information.shape[0] > 0:
        _store_noise(loop.seen, k, loop.Finv, loop.K, r, N, e, out.errors, out.information, t)
    if out.lag_cov.shape[0] > 0 and t < last:
        multiply(loop.NL, P, room.NLP)
        _lag_cov(loop.L, P, P_next, room.NLP, room.PNP, out.lag_cov, t)
    information_before(C, k, N, loop)
    for a in range(n):
        r[a] = before[a]
    if out.mean.shape[0] > 0:
        _smooth_state(m, P, r, room.x)
        for a in range(n):
            out.mean[t, a] = room.x[a]
        code = _smooth_cov(P, N, room.NLP, room.PNP, out.cov, t)
    return code


@jit(counted=False)
def rows_back(
    y, start, stop, last, steady, known, C, R, S, mean_pred, cov_pred, response, r, N, rs, z_next, out, room
):  # fmt: skip
    """Rows stop − 1 down to start of a sequence that ends with the row `last`. Returns 2 if an innovation covariance is singular, 1 if smoothed
    covariances have lost digits, else 0.

    r, N, rs (d, n) and z_next (d, n), the r and the smoothed response of each direction of δ, are those of the row `stop` on entry, zero at the
    end of the sequence, and of `start` on exit. From the row `steady` on nothing is missing and the prediction's covariance is that of
    `steady`; `known`: its gain is in `room` already.
    """
    code = 0
    for t in range(stop - 1, start - 1, -1):
        k, P = observed(y, t, room.loop.seen), cov_pred[min(t, steady)]
        if not known and not gain(C, R, S, P, k, room.loop):
            return 2
        known = t > steady
        P_next = cov_pred[min(t + 1, steady, last)]
        code = max(code, _row_back(t, k, last, y, C, mean_pred[t], P, P_next, r, N, out, room))
        _spread_back(t, k, last, C, P, response, rs, z_next, out, room)
    return code


@jit
def backward_packed(
    first, last, y, offsets, steady_from, A, C, Q, R, S, mean_pred, cov_pred, response, r, N, mean, cov, lag_cov, errors, shocks, information, status
):  # fmt: skip
    """The backward pass over the packed sequences `first` to `last` (exclusive). Outputs over rows that are empty are not computed.

    Args:
        y, offsets, A, C, Q, R, S: as in `kalman.filter_packed`.
        steady_from: (N,) from the forward pass: cov_pred is read up to and including this step of each sequence only.
        mean_pred, cov_pred: (rows, n), (rows, n, n) from the forward pass, for a diffuse start the mean at δ̂ and the covariance given δ.
        response: (rows, n, d) X times a root of Δ; d is 0 without a diffuse start.
        r, N: (N, n), (N, n, n) zeros on entry; r₀ and N₀ of each sequence on exit (N₀ is given δ).
        mean, cov: (rows, n), (rows, n, n) out: smoothed states.
        lag_cov: (rows, n, n) zeros on entry; out: Cov(x[t+1], x[t] | Y), left alone in a sequence's last row.
        errors: (rows, p) out: e, 0 where missing on entry.
        shocks: (rows, n) out: r.
        information: (rows, n + p, n + p) out: the covariance of (r, e); zeros on entry, and only together with shocks.
        status: (N,) out: 2 where an innovation covariance is singular, 1 where smoothed covariances have lost more than half of their digits.
    """
    d, n = response.shape[2], A.shape[0]
    out, room = Wanted(mean, cov, lag_cov, errors, shocks, information), new_room(A, C.shape[0])
    loop, nothing = room.loop, no_sums()
    for i in range(first, last):
        start, stop, rs, z_next = offsets[i], offsets[i + 1], np.zeros((d, n)), np.zeros((d, n))
        steady, low, code = start + steady_from[i], stop, 0
        if steady < stop:
            low = negligible_from(response, cov_pred[steady], Q, steady, stop)
        if low < stop:
            P, k = cov_pred[steady], observed(y, stop - 1, loop.seen)
            if gain(C, R, S, P, k, loop):
                run_back(y, low, stop, C, mean_pred, P, loop.Finv, loop.K, loop.L, r[i], mean, errors, shocks, nothing)
                code = _constant_back(low, stop, stop - 1, C, P, N[i], out, room)
            else:
                code = 2
        if code < 2:
            code = max(code, rows_back(
                y, start, low, stop - 1, steady, steady < low < stop, C, R, S, mean_pred, cov_pred, response, r[i], N[i], rs, z_next, out, room
            ))  # fmt: skip
        status[i] = code
