"""The gains of a block of rows side by side: in most arrays here one row is one coordinate, or one entry of a small matrix, of all of them.

Letters as in `statewise.kernels.smoother`. A row takes no loop of its own, and loops over a block are long enough for a processor's vectors.
A missing entry has a one in F and zeros in F⁻¹, and so in K.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from statewise.kernels._jit import gemm, jit
from statewise.kernels.closed_loop import PIVOT_TOLERANCE


class Gains(NamedTuple):
    """Of B rows with p entries and n states: seen (p, B), F⁻¹ (p, p, B), K (B, n, p) and C' F⁻¹ (n, p, B), and what they are made of.

    CP holds P C' row by row, PC and APC P C' and A P C' side by side; F ends as a Cholesky factor with the reciprocals of its diagonal, and
    `root` is its inverse.
    """

    seen: np.ndarray
    Finv: np.ndarray
    K: np.ndarray
    CF: np.ndarray
    CP: np.ndarray
    PC: np.ndarray
    APC: np.ndarray
    F: np.ndarray
    root: np.ndarray
    row: np.ndarray


@jit
def new_gains(n, p, rows):
    """Room for the gains of a block."""
    return Gains(
        np.empty((p, rows)), np.empty((p, p, rows)), np.empty((rows, n, p)), np.empty((n, p, rows)), np.empty((rows * n, p)),
        np.empty((n, p * rows)), np.empty((n, p * rows)), np.empty((p, p, rows)), np.empty((p, p, rows)), np.empty(rows),
    )  # fmt: skip


@jit(fast=True, counted=False)
def _innovation_covs(y, low, C, R, g):
    """The lower half of F."""
    p, rows = g.seen.shape
    for j in range(p):
        for c in range(rows):
            g.seen[j, c] = 0.0 if np.isnan(y[low + c, j]) else 1.0
    for i in range(p):
        for j in range(i + 1):
            for c in range(rows):
                g.F[i, j, c] = R[i, j]
            for a in range(C.shape[1]):
                weight = C[i, a]
                if weight != 0.0:
                    for c in range(rows):
                        g.F[i, j, c] += weight * g.PC[a, j * rows + c]
            missing = 1.0 if i == j else 0.0
            for c in range(rows):
                both = g.seen[i, c] * g.seen[j, c]
                g.F[i, j, c] = g.F[i, j, c] * both + missing * (1.0 - both)


@jit(fast=True, counted=False)
def _cholesky(F, size, one):
    """The lower factor of F in its place, with the reciprocals of its diagonal. Returns how many pivots are zero to working accuracy."""
    p, rows = F.shape[0], F.shape[2]
    singular = 0
    for i in range(p):
        for c in range(rows):
            size[c] = F[i, i, c]
        for j in range(i + 1):
            for h in range(j):
                for c in range(rows):
                    F[i, j, c] -= F[i, h, c] * F[j, h, c]
            if j < i:
                for c in range(rows):
                    F[i, j, c] *= F[j, j, c]
        for c in range(rows):
            pivot = F[i, i, c]
            good = pivot > PIVOT_TOLERANCE * size[c]
            singular += 0 if good else 1
            F[i, i, c] = one / np.sqrt(pivot if good else one)
    return singular


@jit(fast=True, counted=False)
def _invert(g):
    """F⁻¹ of each row. Returns False if one is not positive definite to working accuracy."""
    p, rows = g.seen.shape
    low, root, Finv = g.F, g.root, g.Finv
    if _cholesky(low, g.row, 1.0) > 0:
        return False
    for i in range(p):
        for c in range(rows):
            root[i, i, c] = g.seen[i, c] * low[i, i, c]
        for j in range(i):
            for c in range(rows):
                root[i, j, c] = 0.0
            for h in range(j, i):
                for c in range(rows):
                    root[i, j, c] -= low[i, h, c] * root[h, j, c]
            for c in range(rows):
                root[i, j, c] *= low[i, i, c]
    for i in range(p):
        for j in range(i + 1):
            for c in range(rows):
                Finv[i, j, c] = 0.0
            for h in range(i, p):
                for c in range(rows):
                    Finv[i, j, c] += root[h, i, c] * root[h, j, c]
            for c in range(rows):
                Finv[j, i, c] = Finv[i, j, c]
    return True


@jit(fast=True, counted=False)
def gains(y, low, A, C, Ct, R, S, P, g):
    """The gains of the rows from `low` on, from P (B n, n), their predictions' covariances one below the other. Returns False if an F is singular."""
    p, rows = g.seen.shape
    n = A.shape[0]
    gemm(P, Ct, g.CP)
    for a in range(n):
        for j in range(p):
            for c in range(rows):
                g.PC[a, j * rows + c] = g.CP[c * n + a, j]
    _innovation_covs(y, low, C, R, g)
    if not _invert(g):
        return False
    gemm(A, g.PC, g.APC)
    for a in range(n):
        for j in range(p):
            for c in range(rows):
                g.row[c], g.CF[a, j, c] = 0.0, 0.0
            for i in range(p):
                cross, weight = S[a, i], C[i, a]
                for c in range(rows):
                    g.row[c] += (g.APC[a, i * rows + c] + cross) * g.Finv[i, j, c]
                if weight != 0.0:
                    for c in range(rows):
                        g.CF[a, j, c] += weight * g.Finv[i, j, c]
            for c in range(rows):
                g.K[c, a, j] = g.row[c]
    return True
