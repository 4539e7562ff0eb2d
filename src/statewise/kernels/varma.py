"""The recursions of a VARMA's exact likelihood on complete data (see `statewise.inference.varma_likelihood` for the letters).

Arrays: ar (p, k, k), ma (q, k, k), y and e (rows, k), offsets (N + 1,), psi (L, k, k) with Ψ[0] = I, m and h (N, r·k), M and V (r·k, r·k).
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit


@jit
def divide(ma, offsets, x):
    """x[t] ← x[t] − Σⱼ Θⱼ x[t−j] in place, within each sequence."""
    q, k = ma.shape[0], x.shape[1]
    for i in range(len(offsets) - 1):
        first = offsets[i]
        for t in range(first, offsets[i + 1]):
            for j in range(min(q, t - first)):
                for a in range(k):
                    total = x[t, a]
                    for b in range(k):
                        total -= ma[j, a, b] * x[t - 1 - j, b]
                    x[t, a] = total


@jit
def multiply_transposed(blocks, offsets, z, out):
    """out[t] ← z[t] − Σᵢ Bᵢ' out_or_z[t+i]: the adjoint of a lag polynomial, of its inverse if `out` is `z`."""
    r, k = blocks.shape[0], z.shape[1]
    for i in range(len(offsets) - 1):
        stop = offsets[i + 1]
        for t in range(stop - 1, offsets[i] - 1, -1):
            for a in range(k):
                out[t, a] = z[t, a]
            for j in range(min(r, stop - 1 - t)):
                for b in range(k):
                    for a in range(k):
                        out[t, a] -= blocks[j, b, a] * z[t + 1 + j, b]


@jit
def lag_products(z, x, offsets, out):
    """out[j] −= Σ z[t] x[t−1−j]' within each sequence; out (lags, k, k)."""
    lags, k = out.shape[0], z.shape[1]
    for i in range(len(offsets) - 1):
        first = offsets[i]
        for t in range(first, offsets[i + 1]):
            for j in range(min(lags, t - first)):
                for a in range(k):
                    for b in range(k):
                        out[j, a, b] -= z[t, a] * x[t - 1 - j, b]


@jit
def inverse_coefficients(ma, longest, negligible, largest):
    """Ψ (L, k, k), L ≤ `longest`, up to the q in a row that are negligible; no row at all where an entry is `largest` or more."""
    q, k = ma.shape[0], ma.shape[1]
    psi = np.zeros((min(64, longest), k, k))
    for a in range(k):
        psi[0, a, a] = 1.0
    t, small = 1, 0
    while t < longest and small < q:
        if t == len(psi):
            longer = np.zeros((min(2 * t, longest), k, k))
            longer[:t] = psi
            psi = longer
        size = 0.0
        for j in range(min(q, t)):
            for a in range(k):
                for b in range(k):
                    for c in range(k):
                        psi[t, a, c] -= ma[j, a, b] * psi[t - 1 - j, b, c]
        for a in range(k):
            for c in range(k):
                if not abs(psi[t, a, c]) < largest:
                    return psi[:0]
                size = max(size, abs(psi[t, a, c]))
        small = small + 1 if size < negligible else 0
        t += 1
    return psi[:t]


@jit
def weigh(inverse, psi):
    """Σ⁻¹ Ψ[j] for every j."""
    L, k = psi.shape[0], psi.shape[1]
    out = np.zeros((L, k, k))
    for j in range(L):
        for a in range(k):
            for b in range(k):
                for c in range(k):
                    out[j, a, c] += inverse[a, b] * psi[j, b, c]
    return out


@jit
def through_coefficients(ma, psi, gpsi, gma):
    """Add to gma what the gradient in Ψ = Θ(L)⁻¹ says of Θ; gpsi, that gradient, moves."""
    q, k = ma.shape[0], ma.shape[1]
    for t in range(len(psi) - 1, 0, -1):
        for j in range(min(q, t)):
            for a in range(k):
                for b in range(k):
                    for c in range(k):
                        gma[j, a, b] -= gpsi[t, a, c] * psi[t - 1 - j, b, c]
                        gpsi[t - 1 - j, b, c] -= ma[j, a, b] * gpsi[t, a, c]


@jit
def start_scores(e, offsets, weighted, h):
    """h[i] += Σ G[t]' Σ⁻¹ e[t]; `weighted` (L, k, k) is Σ⁻¹ Ψ."""
    k, blocks = e.shape[1], h.shape[1] // e.shape[1]
    for i in range(len(offsets) - 1):
        first = offsets[i]
        for s in range(min(len(weighted) + blocks - 1, offsets[i + 1] - first)):
            for block in range(max(0, s - len(weighted) + 1), min(blocks, s + 1)):
                for a in range(k):
                    for c in range(k):
                        h[i, block * k + c] += weighted[s - block, a, c] * e[first + s, a]


@jit
def start_information(psi, weighted, reach, M):
    """M += Σ G[t]' Σ⁻¹ G[t] over the first `reach` steps."""
    L, k = psi.shape[0], psi.shape[1]
    blocks = M.shape[0] // k
    for s in range(reach):
        low, high = max(0, s - L + 1), min(blocks, s + 1)
        for u in range(low, high):
            for v in range(low, high):
                for a in range(k):
                    for c in range(k):
                        for d in range(k):
                            M[u * k + c, v * k + d] += psi[s - u, a, c] * weighted[s - v, a, d]


@jit
def spread_means(psi, m, offsets, e, gpsi):
    """e[t] −= G[t] m[i], then gpsi[s − block] += e[s] m[i, block]'."""
    L, k = psi.shape[0], psi.shape[1]
    blocks = m.shape[1] // k
    for i in range(len(offsets) - 1):
        first = offsets[i]
        for s in range(min(L + blocks - 1, offsets[i + 1] - first)):
            low, high = max(0, s - L + 1), min(blocks, s + 1)
            for block in range(low, high):
                for a in range(k):
                    for c in range(k):
                        e[first + s, a] -= psi[s - block, a, c] * m[i, block * k + c]
            for block in range(low, high):
                for a in range(k):
                    for c in range(k):
                        gpsi[s - block, a, c] += e[first + s, a] * m[i, block * k + c]


@jit
def spread_covariance(psi, V, reach, weight, row, moment, gpsi):
    """moment += weight Σ G V G', gpsi −= weight (G V) by blocks; `row` (r·k,) is room to work in."""
    L, k = psi.shape[0], psi.shape[1]
    n = V.shape[0]
    blocks = n // k
    for s in range(reach):
        low, high = max(0, s - L + 1), min(blocks, s + 1)
        for a in range(k):
            for x in range(n):
                row[x] = 0.0
            for block in range(low, high):
                for c in range(k):
                    for x in range(n):
                        row[x] += weight * psi[s - block, a, c] * V[block * k + c, x]
            for block in range(low, high):
                for c in range(k):
                    gpsi[s - block, a, c] -= row[block * k + c]
                    for b in range(k):
                        moment[a, b] += row[block * k + c] * psi[s - block, b, c]
