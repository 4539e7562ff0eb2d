"""The gradient of the log-likelihood in every part of the system, and what blocks of rows add to it (equations: `statewise.kernels.smoother`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import jit


class Sums(NamedTuple):
    """Gradients in the matrices and offsets of a system, added to."""

    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    S: np.ndarray
    b: np.ndarray
    d: np.ndarray


@jit
def no_sums():
    """In the place of gradients that are not wanted."""
    none, nothing = np.empty((0, 0)), np.empty(0)
    return Sums(none, none, none, none, none, nothing, nothing)


@jit(counted=False)
def add_products(sums, g):
    """Add the sums Σ [r e] [1 r e x̂]' of some rows to the gradients; of the responses of r, e and x̂, for a direction of a diffuse start."""
    n, p = g.A.shape[0], g.R.shape[0]
    e, x = 1 + n, 1 + n + p  # where e and x̂ begin in a row of the sums
    for a in range(n):
        g.b[a] += sums[a, 0]
        for b in range(n):
            g.A[a, b] += sums[a, x + b]
            g.Q[a, b] += 0.5 * sums[a, 1 + b]
        for j in range(p):
            g.S[a, j] += sums[a, e + j]
    for i in range(p):
        g.d[i] += sums[n + i, 0]
        for b in range(n):
            g.C[i, b] += sums[n + i, x + b]
        for j in range(p):
            g.R[i, j] += 0.5 * sums[n + i, e + j]


@jit(counted=False)
def add_expected(N, NK, D, PXY, g):
    """Take off what holds no data, from sums over some rows: N, N K, D = F⁻¹ + K'NK, and P [X Y] with X = L'N and Y = C' F⁻¹ − X K."""
    n, p = g.A.shape[0], g.R.shape[0]
    for a in range(n):
        for b in range(n):
            g.A[a, b] -= PXY[b, a]
            g.Q[a, b] -= 0.5 * N[a, b]
        for i in range(p):
            g.C[i, a] -= PXY[a, n + i]
            g.S[a, i] += NK[a, i]
    for i in range(p):
        for j in range(p):
            g.R[i, j] -= 0.5 * D[i, j]
