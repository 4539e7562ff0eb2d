"""What one step of the backward pass adds to the gradient of the log-likelihood; the equations are in `statewise.kernels.smoother`."""

from __future__ import annotations

from statewise.kernels._jit import jit


@jit(fast=True, counted=False)
def add_expected(C, P, seen, k, Finv, K, N, KN, NLP, count, gA, gC, gQ, gR, gS, work):
    """Add the part of the gradients that holds no data, of `count` steps with one gain; N, KN = K' N and NLP are sums over them.

    `work` (p, n) is room to work in.
    """
    n = N.shape[0]
    for a in range(n):
        for b in range(n):
            gA[a, b] -= NLP[a, b]
            gQ[a, b] -= 0.5 * N[a, b]
    for i in range(k):
        for a in range(n):
            gS[a, seen[i]] += KN[i, a]
        for j in range(k):
            total = count * Finv[i, j]
            for b in range(n):
                total += KN[i, b] * K[b, j]
            gR[seen[i], seen[j]] -= 0.5 * total
        for a in range(n):
            work[i, a] = 0.0
            for j in range(k):
                work[i, a] -= count * Finv[i, j] * C[seen[j], a]
        for a in range(n):
            weight, move = work[i, a], K[a, i]
            for b in range(n):
                gC[seen[i], b] += weight * P[a, b] + move * NLP[a, b]


@jit(fast=True, counted=False)
def add_spread(r, e, x, seen, k, gA, gC, gQ, gR, gS):
    """Add the products of one step's r, e and x̂ to the gradients; of the responses of r, e and x̂, for a direction of a diffuse start."""
    n = r.shape[0]
    for a in range(n):
        for b in range(n):
            gA[a, b] += r[a] * x[b]
            gQ[a, b] += 0.5 * r[a] * r[b]
        for i in range(k):
            gS[a, seen[i]] += r[a] * e[i]
            gC[seen[i], a] += e[i] * x[a]
    for i in range(k):
        for j in range(k):
            gR[seen[i], seen[j]] += 0.5 * e[i] * e[j]


@jit(counted=False)
def add_sums(sums, gA, gC, gQ, gR, gS, gb, gd):
    """Add the sums Σ [r e] [1 r e x̂]' of some rows to the gradients."""
    n, p = gA.shape[0], gR.shape[0]
    e, x = 1 + n, 1 + n + p  # where e and x̂ begin in a row of the sums
    for a in range(n):
        gb[a] += sums[a, 0]
        for b in range(n):
            gA[a, b] += sums[a, x + b]
            gQ[a, b] += 0.5 * sums[a, 1 + b]
        for j in range(p):
            gS[a, j] += sums[a, e + j]
    for i in range(p):
        gd[i] += sums[n + i, 0]
        for b in range(n):
            gC[i, b] += sums[n + i, x + b]
        for j in range(p):
            gR[i, j] += 0.5 * sums[n + i, e + j]
