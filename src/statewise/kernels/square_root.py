"""The Kalman filter and smoother in square-root form: covariances are kept as factors, P = U U', which cannot lose their sign.

A factor has half the range of the covariance, so that twice as many digits are left of a small remainder. An entry with row c and variance d is
learnt by Potter's formula, U ← U − U f f' / (F + √(F d)) with f = U' c and F = f'f + d (Bierman, *Factorization Methods for Discrete Sequential
Estimation*, 1977, §II.7). A step is moved by an orthogonal triangularisation, [U' A'; Γ'] = (orthogonal) [X'; 0] with Q = Γ Γ', which leaves
X X' = A U U' A' + Q (Kailath, Sayed & Hassibi, *Linear Estimation*, 2000, §12.3).

Going back, the smoother's r and N = V V' of `statewise.kernels.smoother` are those of an entry at a time, r ← c e/F + L' r, V ← [L' V, c/√F] with
L = I − P c c'/F. The smoothed mean is m + U U' r and the covariance U (I − B'B) U' with B = V' U. The eigenvalues of B'B are between 0 and 1, and are
kept there.

Other letters, and the correlation of the noises, as in `statewise.kernels.kalman`.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.diffuse import filter_diffuse
from statewise.kernels.known import LOG_2PI
from statewise.kernels.step import any_nonzero, decorrelate, move_mean, see, transition

NOTHING = 1e-14  # of a column's length, or of a variance: what is left of it is rounding
DEGENERATE = 1e-26  # F relative to the terms that it is the remainder of


@jit
def root(cov, out):
    """The lower triangle `out` with out out' = cov, for a positive semi-definite cov; a pivot that is rounding gives a column of zeros."""
    n = cov.shape[0]
    for j in range(n):
        for i in range(n):
            out[i, j] = 0.0
        pivot = cov[j, j]
        for h in range(j):
            pivot -= out[j, h] * out[j, h]
        if not pivot > NOTHING * cov[j, j]:
            continue
        out[j, j] = math.sqrt(pivot)
        for i in range(j + 1, n):
            total = cov[i, j]
            for h in range(j):
                total -= out[i, h] * out[j, h]
            out[i, j] = total / out[j, j]


@jit
def echelon(M):
    """Bring M to row-echelon form by reflections of its rows. Returns its rank."""
    rows, columns = M.shape
    rank = 0
    for k in range(columns):
        whole, rest = 0.0, 0.0
        for i in range(rows):
            whole += M[i, k] * M[i, k]
            if i >= rank:
                rest += M[i, k] * M[i, k]
        if rank == rows or not math.sqrt(rest) > NOTHING * math.sqrt(whole):
            for i in range(rank, rows):
                M[i, k] = 0.0
            continue
        first = M[rank, k]
        length = -math.sqrt(rest) if first > 0.0 else math.sqrt(rest)
        head = first - length
        for column in range(k + 1, columns):
            along = head * M[rank, column]
            for i in range(rank + 1, rows):
                along += M[i, k] * M[i, column]
            along /= length * head
            M[rank, column] += along * head
            for i in range(rank + 1, rows):
                M[i, column] += along * M[i, k]
        M[rank, k] = length
        for i in range(rank + 1, rows):
            M[i, k] = 0.0
        rank += 1
    return rank


@jit
def _noise_root(Q, S, R, seen, k, cross, joint, factor, out):
    """`out`, a factor of the covariance of w given the k entries' errors: the last block of a factor of their joint covariance."""
    n = Q.shape[0]
    if not cross:
        root(Q, out)
        return
    size = k + n
    for i in range(k):
        for j in range(k):
            joint[i, j] = R[seen[i], seen[j]]
        for a in range(n):
            joint[i, k + a] = S[a, seen[i]]
            joint[k + a, i] = S[a, seen[i]]
    joint[k:size, k:size] = Q
    root(joint[:size, :size], factor[:size, :size])
    out[:] = factor[k:size, k:size]


@jit
def _learn(c, d, value, m, U, size, f, g):
    """Learn one entry. Returns its log density and whether it was degenerate."""
    n = m.shape[0]
    error, F, scale = value, d, d
    for j in range(n):
        f[j] = 0.0
        for a in range(n):
            f[j] += U[a, j] * c[a]
        F += f[j] * f[j]
        error -= c[j] * m[j]
        scale += c[j] * c[j] * size[j]
    if not DEGENERATE * scale < F:
        return -np.inf, True
    share = 1.0 / (F + math.sqrt(F * d))
    for a in range(n):
        g[a] = 0.0
        for j in range(n):
            g[a] += U[a, j] * f[j]
        m[a] += g[a] / F * error
    for a in range(n):
        for j in range(n):
            U[a, j] -= share * g[a] * f[j]
    return -0.5 * (LOG_2PI + math.log(F) + error * error / F), False


@jit
def _store(m, U, mean, cov, t):
    n = m.shape[0]
    for a in range(n):
        mean[t, a] = m[a]
        for b in range(a + 1):
            total = 0.0
            for j in range(n):
                total += U[a, j] * U[b, j]
            cov[t, a, b] = total
            cov[t, b, a] = total


@jit
def filter_one(
    y, start, stop, offset, A, C, Q, R, S, m, P, W, reach,
    log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt, roots,
):  # fmt: skip
    """Filter the rows start to stop of one sequence; arguments as in `kalman.filter_packed`. Returns 2 if degenerate, else 0.

    roots: (rows, n, n) out: U of each prediction, or empty.
    """
    p, n = y.shape[1], A.shape[0]
    t, status = filter_diffuse(
        y, start, stop, offset, A, C, Q, R, S, m, P, W, reach, log_prob,
        store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt,
    )  # fmt: skip
    cross = any_nonzero(S)
    seen, k = np.zeros(p, np.int64), -1
    low, D, Cs, ys, G = np.zeros((p, p)), np.zeros(p), np.zeros((p, n)), np.zeros(p), np.zeros((n, p))
    Ab, Qb, At, noise, U = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    joint, factor, M = np.empty((n + p, n + p)), np.empty((n + p, n + p)), np.empty((2 * n, n))
    size, f, g, moved = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    root(P, U)
    while t < stop:
        k, changed = see(y, t, seen, k)
        if changed:
            decorrelate(C, R, S, seen, k, low, D, Cs, G, cross)
            transition(A, Q, Cs, G, D, k if cross else 0, Ab, Qb)
            _noise_root(Q, S, R, seen, k, cross, joint, factor, noise)
            for a in range(n):
                for b in range(n):
                    At[b, a] = Ab[a, b]
        if store:
            _store(m, U, mean_pred, cov_pred, t)
        if roots.shape[0] > 0:
            roots[t] = U
        log_prob[t] = 0.0
        for a in range(n):
            size[a] = 0.0
            for j in range(n):
                size[a] += U[a, j] * U[a, j]
        for i in range(k):
            value = y[t, seen[i]]
            for h in range(i):
                value -= low[i, h] * ys[h]
            ys[i] = value
            density, degenerate = _learn(Cs[i], D[i], value, m, U, size, f, g)
            log_prob[t] += density
            if degenerate:
                status = 2
        if store and mean_filt.shape[0] > 0:
            _store(m, U, mean_filt, cov_filt, t)
        move_mean(At, G, offset, t, ys, k, cross, m, moved)
        for j in range(n):
            for a in range(n):
                total = 0.0
                for b in range(n):
                    total += Ab[a, b] * U[b, j]
                M[j, a], M[n + j, a] = total, noise[a, j]
        rank = echelon(M)
        for a in range(n):
            for j in range(n):
                U[a, j] = M[j, a] if j < rank else 0.0
        t += 1
    for a in range(n):
        for b in range(n):
            P[a, b] = 0.0
            for j in range(n):
                P[a, b] += U[a, j] * U[b, j]
    return status


@jit
def filter_packed(
    first, last, y, offsets, offset, A, C, Q, R, S, means, covs, W, reach,
    log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt, statuses, roots,
):  # fmt: skip
    """Filter the packed sequences `first` to `last` (exclusive); arguments as in `kalman.filter_packed` and `filter_one`."""
    for i in range(first, last):
        statuses[i] = filter_one(
            y, offsets[i], offsets[i + 1], offset, A, C, Q, R, S, means[i], covs[i], W[i], reach[i],
            log_prob, store, mean_pred, cov_pred, mean_filt, cov_filt, diffuse_pred, diffuse_filt, roots,
        )  # fmt: skip


@jit
def _back_entry(c, F, error, f, U, r, V, width, g):
    """r ← c e/F + L' r and V ← [L' V, c/√F], whose first `width` columns are filled, for an entry that was learnt with f and the factor U."""
    n = r.shape[0]
    along = 0.0
    for a in range(n):
        g[a] = 0.0
        for j in range(n):
            g[a] += U[a, j] * f[j]
        along += g[a] * r[a]
    for a in range(n):
        r[a] += c[a] * (error - along) / F
    for j in range(width):
        along = 0.0
        for a in range(n):
            along += g[a] * V[a, j]
        for a in range(n):
            V[a, j] -= c[a] * along / F
    for a in range(n):
        V[a, width] = c[a] / math.sqrt(F)


@jit
def _smoothed(m, U, r, V, mean, cov):
    """mean = m + U U' r and cov = U (I − B'B) U', B = V' U with the n columns of V."""
    n = m.shape[0]
    B = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            for a in range(n):
                B[i, j] += V[a, i] * U[a, j]
    values, vectors = np.linalg.eigh(B.T @ B)
    turned = U @ vectors
    for a in range(n):
        mean[a] = m[a]
    for j in range(n):
        along = 0.0
        for a in range(n):
            along += U[a, j] * r[a]
        for a in range(n):
            mean[a] += U[a, j] * along
    for a in range(n):
        for b in range(a + 1):
            total = 0.0
            for j in range(n):
                total += turned[a, j] * turned[b, j] * min(1.0, max(0.0, 1.0 - values[j]))
            cov[a, b] = total
            cov[b, a] = total


@jit
def smooth_one(y, start, stop, A, C, Q, R, S, mean_pred, roots, mean, cov):
    """Smoothed moments mean (rows, n), cov (rows, n, n) of the rows start to stop of one sequence, from what `filter_one` left."""
    p, n = y.shape[1], A.shape[0]
    cross = any_nonzero(S)
    seen, k = np.zeros(p, np.int64), -1
    low, D, Cs, ys, G = np.zeros((p, p)), np.zeros(p), np.zeros((p, n)), np.zeros(p), np.zeros((n, p))
    Ab, Qb, m, g, size = np.empty((n, n)), np.empty((n, n)), np.empty(n), np.empty(n), np.empty(n)
    r, V, M, U = np.zeros(n), np.zeros((n, n + p)), np.zeros((n + p, n)), np.empty((n, n))
    before, fs, Fs, errors = np.empty((p, n, n)), np.empty((p, n)), np.empty(p), np.empty(p)
    for t in range(stop - 1, start - 1, -1):
        k, changed = see(y, t, seen, k)
        if changed:
            decorrelate(C, R, S, seen, k, low, D, Cs, G, cross)
            transition(A, Q, Cs, G, D, k if cross else 0, Ab, Qb)
        for a in range(n):
            m[a], size[a] = mean_pred[t, a], 0.0
            for j in range(n):
                U[a, j] = roots[t, a, j]
        for i in range(k):
            value = y[t, seen[i]]
            for h in range(i):
                value -= low[i, h] * ys[h]
            ys[i], errors[i], Fs[i] = value, value, D[i]
            before[i] = U
            for a in range(n):
                errors[i] -= Cs[i, a] * m[a]
            _learn(Cs[i], D[i], value, m, U, size, fs[i], g)
            for j in range(n):
                Fs[i] += fs[i, j] * fs[i, j]
        r[:] = Ab.T @ r
        V[:, :n] = Ab.T @ np.ascontiguousarray(V[:, :n])
        for i in range(k - 1, -1, -1):
            _back_entry(Cs[i], Fs[i], errors[i], fs[i], before[i], r, V, n + k - 1 - i, g)
        for a in range(n):
            for j in range(n + p):
                M[j, a] = V[a, j] if j < n + k else 0.0
        rank = echelon(M)
        for a in range(n):
            for j in range(n):
                V[a, j] = M[j, a] if j < rank else 0.0
        _smoothed(mean_pred[t], roots[t], r, V, mean[t], cov[t])


@jit
def smooth_packed(first, last, y, offsets, A, C, Q, R, S, mean_pred, roots, mean, cov):
    """`smooth_one` of the packed sequences `first` to `last` (exclusive)."""
    for i in range(first, last):
        smooth_one(y, offsets[i], offsets[i + 1], A, C, Q, R, S, mean_pred, roots, mean, cov)
