"""The backward pass of the Kalman smoother: smoothed states and the exact gradient of the log-likelihood in one recursion.

With K = (A P C' + S) F⁻¹ and L = A − K C, going back in time,
    r ← C' F⁻¹ v + L' r,    N ← C' F⁻¹ C + L' N L,
the smoothed state is m + P r with covariance P − P N P (Durbin & Koopman 2012, §4.4). With e = F⁻¹ v − K' r the log-likelihood's gradients are
    ∂/∂b = Σ r,  ∂/∂d = Σ e,  ∂/∂A = Σ r x̂' − N L P,  ∂/∂C = Σ e x̂' − (F⁻¹ C − K' N L) P,
    ∂/∂Q = ½ Σ r r' − N,  ∂/∂S = Σ r e' + N K,  ∂/∂R = ½ Σ e e' − F⁻¹ − K' N K,  ∂/∂m0 = r₀,  ∂/∂P0 = ½ (r₀ r₀' − N₀)
(Koopman & Shephard, Biometrika 79 (1992), extended to correlated errors). Q, R and P0 are differentiated as if their entries were free.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit


@jit
def _invert(F, k, low, out):
    """out = F⁻¹ by Cholesky for the leading k × k block. Returns False if it is not positive definite to working accuracy."""
    for i in range(k):
        for j in range(i + 1):
            total = F[i, j]
            for h in range(j):
                total -= low[i, h] * low[j, h]
            if i == j:
                if not total > 1e-14 * F[i, i]:
                    return False
                low[i, i] = np.sqrt(total)
            else:
                low[i, j] = total / low[j, j]
    for column in range(k):
        for i in range(k):
            total = 1.0 if i == column else 0.0
            for h in range(i):
                total -= low[i, h] * out[h, column]
            out[i, column] = total / low[i, i]
        for i in range(k - 1, -1, -1):
            total = out[i, column]
            for h in range(i + 1, k):
                total -= low[h, i] * out[h, column]
            out[i, column] = total / low[i, i]
    return True


@jit
def _gain(A, C, R, S, P, seen, k, PC, F, low, Finv, K, L):
    """K = (A P C' + S) F⁻¹ and L = A − K C for the k entries in `seen`. Returns False if F is singular."""
    n = A.shape[0]
    for i in range(k):
        for a in range(n):
            total = 0.0
            for b in range(n):
                total += P[a, b] * C[seen[i], b]
            PC[a, i] = total
    for i in range(k):
        for j in range(k):
            total = R[seen[i], seen[j]]
            for a in range(n):
                total += C[seen[i], a] * PC[a, j]
            F[i, j] = total
    if not _invert(F, k, low, Finv):
        return False
    for a in range(n):
        for j in range(k):
            total = 0.0
            for i in range(k):
                cross = S[a, seen[i]]
                for b in range(n):
                    cross += A[a, b] * PC[b, i]
                total += cross * Finv[i, j]
            K[a, j] = total
        for b in range(n):
            total = A[a, b]
            for i in range(k):
                total -= K[a, i] * C[seen[i], b]
            L[a, b] = total
    return True


@jit
def _accumulate(C, P, seen, k, Finv, K, r, N, e, x, NLP, gA, gC, gQ, gR, gS, gb):
    """Add one step's share of the gradients (see the module's text)."""
    n = r.shape[0]
    for a in range(n):
        gb[a] += r[a]
        for b in range(n):
            gA[a, b] += r[a] * x[b] - NLP[a, b]
            gQ[a, b] += 0.5 * (r[a] * r[b] - N[a, b])
        for i in range(k):
            total = r[a] * e[i]
            for b in range(n):
                total += N[a, b] * K[b, i]
            gS[a, seen[i]] += total
    for i in range(k):
        for b in range(n):
            total = e[i] * x[b]
            for a in range(n):
                total += K[a, i] * NLP[a, b]
                for j in range(k):
                    total -= Finv[i, j] * C[seen[j], a] * P[a, b]
            gC[seen[i], b] += total
        for j in range(k):
            total = e[i] * e[j] - Finv[i, j]
            for a in range(n):
                for b in range(n):
                    total -= K[a, i] * N[a, b] * K[b, j]
            gR[seen[i], seen[j]] += 0.5 * total


@jit
def _multiply(X, Y, out):
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[a, b] = 0.0
        for c in range(X.shape[1]):
            for b in range(out.shape[1]):
                out[a, b] += X[a, c] * Y[c, b]


@jit
def _backward_one(
    y,
    start,
    stop,
    A,
    C,
    R,
    S,
    mean_pred,
    cov_pred,
    r,
    N,
    with_states,
    mean,
    cov,
    with_gradient,
    gA,
    gC,
    gQ,
    gR,
    gS,
    gb,
    errors,
):
    """Rows stop − 1 down to start; leaves r₀ and N₀ in r and N. Returns 0, or 2 if an innovation covariance is singular."""
    p, n = y.shape[1], A.shape[0]
    seen = np.empty(p, np.int64)
    PC, K, L = np.empty((n, p)), np.empty((n, p)), np.empty((n, n))
    F, low, Finv, v, e = np.empty((p, p)), np.zeros((p, p)), np.empty((p, p)), np.empty(p), np.empty(p)
    before, x, NL, NLP, PNP = np.empty(n), np.empty(n), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    for t in range(stop - 1, start - 1, -1):
        k = 0
        for j in range(p):
            if not np.isnan(y[t, j]):
                seen[k] = j
                k += 1
        m, P = mean_pred[t], cov_pred[t]
        if not _gain(A, C, R, S, P, seen, k, PC, F, low, Finv, K, L):
            return 2
        for i in range(k):
            v[i] = y[t, seen[i]]
            for a in range(n):
                v[i] -= C[seen[i], a] * m[a]
        for i in range(k):
            e[i] = 0.0
            for j in range(k):
                e[i] += Finv[i, j] * v[j]
            for a in range(n):
                e[i] -= K[a, i] * r[a]
        for a in range(n):
            before[a] = 0.0
            for i in range(k):
                before[a] += C[seen[i], a] * e[i]
            for b in range(n):
                before[a] += A[b, a] * r[b]
        for a in range(n):
            x[a] = m[a]
            for b in range(n):
                x[a] += P[a, b] * before[b]
        _multiply(N, L, NL)
        if with_gradient:
            _multiply(NL, P, NLP)
            _accumulate(C, P, seen, k, Finv, K, r, N, e, x, NLP, gA, gC, gQ, gR, gS, gb)
            for i in range(k):
                errors[t, seen[i]] = e[i]
        for a in range(n):
            r[a] = before[a]
            for b in range(a + 1):
                total = 0.0
                for c in range(n):
                    total += L[c, a] * NL[c, b]
                for i in range(k):
                    for j in range(k):
                        total += C[seen[i], a] * Finv[i, j] * C[seen[j], b]
                N[a, b] = total
                N[b, a] = total
        if with_states:
            _multiply(N, P, NLP)
            _multiply(P, NLP, PNP)
            for a in range(n):
                mean[t, a] = x[a]
                for b in range(n):
                    cov[t, a, b] = P[a, b] - 0.5 * (PNP[a, b] + PNP[b, a])
    return 0


@jit
def backward_packed(
    first,
    last,
    y,
    offsets,
    A,
    C,
    R,
    S,
    mean_pred,
    cov_pred,
    r,
    N,
    with_states,
    mean,
    cov,
    with_gradient,
    gA,
    gC,
    gQ,
    gR,
    gS,
    gb,
    errors,
    status,
):
    """The backward pass over the packed sequences `first` to `last` (exclusive).

    Args:
        y, offsets, A, C, R, S: as in `kalman.filter_packed`.
        mean_pred, cov_pred: (rows, n), (rows, n, n) from the forward pass.
        r, N: (N, n), (N, n, n) zeros on entry; r₀ and N₀ of each sequence on exit.
        mean, cov: (rows, n), (rows, n, n) out: smoothed states, where `with_states`.
        gA, gC, gQ, gR, gS, gb: gradients, added to, where `with_gradient`.
        errors: (rows, p) out: e, 0 where missing on entry; its products with the inputs are the gradient in D.
        status: (N,) out: 2 where an innovation covariance is singular.
    """
    for i in range(first, last):
        status[i] = _backward_one(
            y, offsets[i], offsets[i + 1], A, C, R, S, mean_pred, cov_pred, r[i], N[i],
            with_states, mean, cov, with_gradient, gA, gC, gQ, gR, gS, gb, errors,
        )  # fmt: skip
