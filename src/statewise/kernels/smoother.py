"""The backward pass of the Kalman smoother: smoothed states and the exact gradient of the log-likelihood in one recursion.

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
from statewise.kernels.closed_loop import gain, gain_times, loop_times, observed, symmetric
from statewise.kernels.known import multiply
from statewise.kernels.score import add_expected, add_spread
from statewise.kernels.steady import STRETCH, distance, will_stay
from statewise.kernels.steady_backward import negligible_from, run_back
from statewise.kernels.step import copy, list_nonzeros

LARGEST_TERM = 1e8  # of a state's P N: P − P N P is then the remainder of terms that many times larger, and half of its digits are left


@jit(fast=True, counted=False)
def _step_back(A, C, seen, k, Finv, K, v, r, e, before):
    """e = F⁻¹ v − K' r and before = C' e + A' r: the error of one step and the r of the step before."""
    n = A.shape[0]
    for i in range(k):
        e[i] = 0.0
        for j in range(k):
            e[i] += Finv[i, j] * v[j]
        for a in range(n):
            e[i] -= K[a, i] * r[a]
    for a in range(n):
        before[a] = 0.0
    for i in range(k):
        for a in range(n):
            before[a] += C[seen[i], a] * e[i]
    for b in range(n):
        weight = r[b]
        for a in range(n):
            before[a] += A[b, a] * weight


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


@jit(fast=True, counted=False)
def _before(C, L, seen, k, Finv, NL, Lt, N):
    """N ← C' F⁻¹ C + L' (N L). Lt (n, n) is work space."""
    n = L.shape[0]
    for a in range(n):
        for b in range(n):
            Lt[b, a] = L[a, b]
    multiply(Lt, NL, N)
    for a in range(n):
        for j in range(k):
            weight = 0.0
            for i in range(k):
                weight += C[seen[i], a] * Finv[i, j]
            for b in range(n):
                N[a, b] += weight * C[seen[j], b]
    for a in range(n):
        for b in range(a):
            N[a, b] = 0.5 * (N[a, b] + N[b, a])
            N[b, a] = N[a, b]


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


@jit(counted=False)
def _constant_back(
    y, low, stop, last, C, mean_pred, P, r, N, with_gradient,
    mean, cov, lag_cov, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, information, room,
):  # fmt: skip
    """Rows stop − 1 down to `low`, complete and of the gain in `room`; `last` is the last row of the sequence.

    The vectors go in blocks, N from row to row until it has settled; what the gradients need of it is its sum.
    """
    n, p = C.shape[1], y.shape[1]
    with_states, with_lags, with_noise = mean.shape[0] > 0, lag_cov.shape[0] > 0, information.shape[0] > 0
    seen, K, L, Finv, NL, NLP, PNP = room.seen, room.K, room.L, room.Finv, room.NL, room.NLP, room.PNP
    total, settled = room.total, room.settled
    run_back(
        y, low, stop, C, mean_pred, P, Finv, K, L, r, with_gradient, mean, errors, shocks, gA, gC, gQ, gR, gS, gb, gd
    )
    moved, moved_before, code, held = np.inf, np.inf, 0, False
    for a in range(n):
        for b in range(n):
            total[a, b], settled[a, b] = 0.0, 0.0
    for t in range(stop - 1, low - 1, -1):
        if not held:
            if t < stop - 1 and (stop - 1 - t) % STRETCH == 0:
                moved_before, moved = moved, distance(N, settled, settled, room.floor, room.unit, np.inf)
                copy(N, settled)
                held = will_stay(moved, moved_before, (t - low + 1) / STRETCH)
            multiply(N, L, NL)
            if with_noise:
                _store_noise(seen, p, Finv, K, shocks[t], N, errors[t], errors, information, t)
            if with_lags and t < last:
                multiply(NL, P, NLP)
                _lag_cov(L, P, P, NLP, PNP, lag_cov, t)
            weight = t - low + 1 if held else 1
            for a in range(n):
                for b in range(n):
                    total[a, b] += weight * N[a, b]
            if held and not (with_noise or with_lags or with_states):
                break
            if not held:
                _before(C, L, seen, p, Finv, NL, room.Lt, N)
            if with_states:
                code = max(code, _smooth_cov(P, N, NLP, PNP, cov, t))
        else:
            if with_noise:
                copy(information[t + 1], information[t])
            if with_lags:
                copy(lag_cov[t + 1], lag_cov[t])
            if with_states:
                copy(cov[t + 1], cov[t])
    if with_gradient:
        multiply(total, L, NL)
        multiply(NL, P, NLP)
        gain_times(K, p, total, room.KN)
        add_expected(C, P, seen, p, Finv, K, total, room.KN, NLP, stop - low, gA, gC, gQ, gR, gS, room.CP)
    return code


class _Room(NamedTuple):
    """What a step back works in: p entries, n states."""

    seen: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    CP: np.ndarray
    cross: np.ndarray
    KN: np.ndarray
    K: np.ndarray
    L: np.ndarray
    Lt: np.ndarray
    At: np.ndarray
    NL: np.ndarray
    NLP: np.ndarray
    PNP: np.ndarray
    settled: np.ndarray
    total: np.ndarray
    F: np.ndarray
    low: np.ndarray
    Finv: np.ndarray
    v: np.ndarray
    e: np.ndarray
    before: np.ndarray
    x: np.ndarray
    along: np.ndarray
    floor: np.ndarray
    unit: np.ndarray


@jit
def _room(A, p):
    n = A.shape[0]
    return _Room(
        np.empty(p, np.int64), np.empty((n, n), np.int64), np.empty(n, np.int64), np.empty((p, n)), np.empty((p, n)), np.empty((p, n)),
        np.empty((n, p)), np.empty((n, n)), np.empty((n, n)), np.ascontiguousarray(A.T), np.empty((n, n)), np.empty((n, n)),
        np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((p, p)), np.zeros((p, p)), np.empty((p, p)),
        np.empty(p), np.empty(p), np.empty(n), np.empty(n), np.empty(n), np.zeros(n), np.empty(n),
    )  # fmt: skip


@jit
def backward_run(
    y, start, stop, last, steady, A, C, Q, R, S, mean_pred, cov_pred, response, r, N, rs, z_next, mean, cov, lag_cov,
    with_gradient, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, information,
):  # fmt: skip
    """Rows stop − 1 down to start of a sequence that ends with the row `last`. Returns 2 if an innovation covariance is singular, 1 if smoothed
    covariances have lost digits, else 0.

    r, N, rs (d, n) and z_next (d, n), the r and the smoothed response of each direction of δ, are those of the row `stop` on entry, zero at the
    end of the sequence, and of `start` on exit. From the row `steady` on nothing is missing and the prediction's covariance is that of `steady`.
    """
    return _backward_run(
        y, start, stop, last, steady, A, C, Q, R, S, mean_pred, cov_pred, response, r, N, rs, z_next, mean, cov, lag_cov,
        with_gradient, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, information, _room(A, y.shape[1]),
    )  # fmt: skip


@jit(counted=False)
def _backward_run(
    y, start, stop, last, steady, A, C, Q, R, S, mean_pred, cov_pred, response, r, N, rs, z_next, mean, cov, lag_cov,
    with_gradient, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, information, room,
):  # fmt: skip
    n, d = A.shape[0], response.shape[2]
    with_states, with_lags, with_noise = mean.shape[0] > 0, lag_cov.shape[0] > 0, information.shape[0] > 0
    with_errors, with_shocks = errors.shape[0] > 0, shocks.shape[0] > 0
    seen, K, L, Finv, v, e, before, x = room.seen, room.K, room.L, room.Finv, room.v, room.e, room.before, room.x
    NL, NLP, PNP, along, KN = room.NL, room.NLP, room.PNP, room.along, room.KN
    t, known, code = stop - 1, False, 0
    dense = list_nonzeros(room.At, room.columns, room.counts)
    lowest = negligible_from(response, cov_pred[steady], Q, steady, stop) if steady < stop else stop
    if lowest < stop:
        k, P = observed(y, t, seen), cov_pred[steady]
        if not gain(A, room.At, C, R, S, P, seen, k, room.CP, room.cross, room.F, room.low, Finv, K, L):
            return 2
        code = _constant_back(
            y, lowest, stop, last, C, mean_pred, P, r, N, with_gradient,
            mean, cov, lag_cov, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, information, room,
        )  # fmt: skip
        for h in range(d):
            for a in range(n):
                rs[h, a], z_next[h, a] = 0.0, 0.0
        t, known = lowest - 1, lowest > steady
    while t >= start:
        k = observed(y, t, seen)
        m, P = mean_pred[t], cov_pred[min(t, steady)]
        if not known and not gain(A, room.At, C, R, S, P, seen, k, room.CP, room.cross, room.F, room.low, Finv, K, L):
            return 2
        known = t > steady
        for i in range(k):
            v[i] = y[t, seen[i]]
            for a in range(n):
                v[i] -= C[seen[i], a] * m[a]
        _step_back(A, C, seen, k, Finv, K, v, r, e, before)
        _smooth_state(m, P, before, x)
        gain_times(K, k, N, KN)
        loop_times(room.At, room.columns, room.counts, dense, C, seen, k, N, KN, room.Lt)
        for a in range(n):
            for b in range(n):
                NL[b, a] = room.Lt[a, b]
        if with_gradient or with_lags:
            multiply(NL, P, NLP)
        if with_gradient:
            add_spread(r, e, x, seen, k, gA, gC, gQ, gR, gS)
            add_expected(C, P, seen, k, Finv, K, N, KN, NLP, 1, gA, gC, gQ, gR, gS, room.CP)
            for a in range(n):
                gb[a] += r[a]
            for i in range(k):
                gd[seen[i]] += e[i]
        if with_errors:
            for i in range(k):
                errors[t, seen[i]] = e[i]
        if with_shocks:
            for a in range(n):
                shocks[t, a] = r[a]
        if with_noise:
            _store_noise(seen, k, Finv, K, r, N, e, errors, information, t)
        if with_lags and t < last:
            _lag_cov(L, P, cov_pred[min(t + 1, steady)], NLP, PNP, lag_cov, t)
        gain_times(K, k, NL, KN)
        for i in range(k):
            for j in range(k):
                for a in range(n):
                    KN[i, a] -= Finv[i, j] * C[seen[j], a]
        loop_times(room.At, room.columns, room.counts, dense, C, seen, k, NL, KN, room.Lt)
        symmetric(N, room.Lt)
        for a in range(n):
            r[a] = before[a]
        if with_states:
            for a in range(n):
                mean[t, a] = x[a]
            code = max(code, _smooth_cov(P, N, NLP, PNP, cov, t))
        for h in range(d):
            for a in range(n):
                along[a] = response[t, a, h]
            for i in range(k):
                v[i] = 0.0
                for a in range(n):
                    v[i] -= C[seen[i], a] * along[a]
            _step_back(A, C, seen, k, Finv, K, v, rs[h], e, before)
            _smooth_state(along, P, before, x)
            if with_gradient:
                add_spread(rs[h], e, x, seen, k, gA, gC, gQ, gR, gS)
            if with_noise:
                _spread_noise(seen, k, rs[h], e, information, t)
            if with_lags and t < last:
                _add_product(z_next[h], x, lag_cov, t)
            if with_states:
                _add_product(x, x, cov, t)
            for a in range(n):
                rs[h, a] = before[a]
                z_next[h, a] = x[a]
        t -= 1
    return code


@jit
def backward_packed(
    first,
    last,
    y,
    offsets,
    steady_from,
    A,
    C,
    Q,
    R,
    S,
    mean_pred,
    cov_pred,
    response,
    r,
    N,
    mean,
    cov,
    lag_cov,
    with_gradient,
    gA,
    gC,
    gQ,
    gR,
    gS,
    gb,
    gd,
    errors,
    shocks,
    information,
    status,
):
    """The backward pass over the packed sequences `first` to `last` (exclusive). Outputs over rows that are empty are not computed.

    Args:
        y, offsets, A, C, Q, R, S: as in `kalman.filter_packed`.
        steady_from: (N,) from the forward pass: cov_pred is read up to and including this step of each sequence only.
        mean_pred, cov_pred: (rows, n), (rows, n, n) from the forward pass, for a diffuse start the mean at δ̂ and the covariance given δ.
        response: (rows, n, d) X times a root of Δ; d is 0 without a diffuse start.
        r, N: (N, n), (N, n, n) zeros on entry; r₀ and N₀ of each sequence on exit (N₀ is given δ).
        mean, cov: (rows, n), (rows, n, n) out: smoothed states.
        lag_cov: (rows, n, n) zeros on entry; out: Cov(x[t+1], x[t] | Y), left alone in a sequence's last row.
        gA, gC, gQ, gR, gS, gb, gd: gradients, added to, where `with_gradient`.
        errors: (rows, p) out: e, 0 where missing on entry; its products with the inputs are the gradient in D.
        shocks: (rows, n) out: r; its products with the inputs are the gradient in B.
        information: (rows, n + p, n + p) out: the covariance of (r, e); zeros on entry, and only together with shocks.
        status: (N,) out: 2 where an innovation covariance is singular, 1 where smoothed covariances have lost more than half of their digits.
    """
    d, n = response.shape[2], A.shape[0]
    for i in range(first, last):
        start, stop = offsets[i], offsets[i + 1]
        rs, z_next = np.zeros((d, n)), np.zeros((d, n))
        status[i] = backward_run(
            y, start, stop, stop - 1, start + steady_from[i], A, C, Q, R, S, mean_pred, cov_pred, response, r[i], N[i], rs, z_next,
            mean, cov, lag_cov, with_gradient, gA, gC, gQ, gR, gS, gb, gd, errors, shocks, information,
        )  # fmt: skip
