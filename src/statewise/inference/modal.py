"""Coordinates in which a dense transition matrix is block diagonal, so that a step of the covariance recursion takes O(n²) in place of O(n³).

With A = T Λ T⁻¹ (real blocks of one or two rows, from the eigenvectors of A) and x = T z, the observations of the system in z are those of
the system in x. The change of coordinates is made only where T is well conditioned: rounding errors grow by its condition number squared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statewise.inference.system import System, in_basis
from statewise.kernels.known import DENSE_SHARE

LARGEST_CONDITION = 100.0  # of T: costs at most four digits of sixteen
LEAST_ROWS = 1000  # below, the eigenvectors cost more than they spare
LEAST_STATES = 8  # below, the products of small matrices are not what takes the time


@dataclass(frozen=True)
class Modal:
    """The system in the coordinates z of x = T z, T (n, n), and T's inverse."""

    system: System
    T: np.ndarray
    inverse: np.ndarray


def modal(sys: System, rows: int) -> Modal | None:
    """The system in the real eigenvector coordinates of A; None where that is not worth it for so many rows, or not safe."""
    n = sys.n
    if sys.which is not None or rows < LEAST_ROWS or n < LEAST_STATES or np.count_nonzero(sys.A) <= DENSE_SHARE * n * n:
        return None
    blocks, T = _real_eigenvectors(sys.A)
    if not np.linalg.cond(T) <= LARGEST_CONDITION:
        return None
    inverse = np.linalg.inv(T)
    return Modal(replace(in_basis(sys, T, inverse), A=blocks), T, inverse)


def _real_eigenvectors(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Λ and T with A T = T Λ: a pair of complex eigenvalues α ± iβ gives the block [[α, β], [−β, α]], its eigenvector's real and imaginary parts."""
    values, vectors = np.linalg.eig(A)
    blocks, T = np.zeros(A.shape), np.empty(A.shape)
    j = 0
    while j < len(A):
        pair = values[j].imag != 0.0
        T[:, j], blocks[j, j] = vectors[:, j].real, values[j].real
        if pair:
            T[:, j + 1], blocks[j + 1, j + 1] = vectors[:, j].imag, values[j].real
            blocks[j, j + 1], blocks[j + 1, j] = values[j].imag, -values[j].imag
        j += 1 + pair
    return blocks, T
