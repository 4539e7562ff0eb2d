"""Products of many Jacobians, kept as a matrix of moderate size and the logarithm of its scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from statewise._core.seed import generator
from statewise.dissection.systems import System

_BLOCK = 6  # tangents of a power iteration
_ROUNDS = 60
_DENSE = 128  # rows or columns up to which singular values are computed


def scaled(matrices: np.ndarray, log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, ·, ·) brought to a largest entry of 1, and the logs (B,) of what was taken out; zeros stay zeros with a log of −inf."""
    size = np.abs(matrices).max(axis=(1, 2))
    with np.errstate(divide="ignore"):
        return matrices / np.where(size > 0, size, 1.0)[:, None, None], log + np.log(size)


def log_norm(matrices: np.ndarray) -> np.ndarray:
    """(B,) ln of the spectral norms."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(spectral_norms(matrices)))


def spectral_norms(matrices: np.ndarray) -> np.ndarray:
    """(B,) ‖·‖₂; of large matrices by a block power iteration, to about five digits."""
    if min(matrices.shape[1:]) <= _DENSE:
        return np.asarray(np.linalg.norm(matrices, ord=2, axis=(1, 2)))
    turned = matrices.transpose(0, 2, 1)
    tangents = generator(0).standard_normal((matrices.shape[2], _BLOCK))
    found = np.zeros(len(matrices))
    for _ in range(_ROUNDS):
        moved = matrices @ np.linalg.qr(tangents)[0]
        before, found = found, np.linalg.norm(moved, ord=2, axis=(1, 2))
        if (np.abs(found - before) <= 1e-5 * found).all():
            break
        tangents = turned @ np.linalg.qr(moved)[0]
    return np.asarray(found)


def products(system: System) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For every t the product J[t] … J[0], as (t, matrices (B, n, n), logs (B,)): the product is the matrix times e^log."""
    matrices = np.broadcast_to(np.eye(system.size), (system.batch, system.size, system.size))
    log = np.zeros(system.batch)
    for t in range(system.steps):
        matrices, log = scaled(system.push(t, matrices), log)
        yield t, matrices, log


def iterated_log_norm(system: System, last: int, tolerance: float = 1e-6, seed: int | None = 0) -> np.ndarray:
    """(B,) ln ‖J[last] … J[0]‖₂ by a block power iteration there and back, without forming a matrix."""
    block = min(_BLOCK, system.size)
    start = generator(seed).standard_normal((system.batch, system.size, block))
    before = np.full(system.batch, np.nan)
    for _ in range(_ROUNDS):
        tangents, log = np.linalg.qr(start)[0], np.zeros(system.batch)
        for t in range(last + 1):
            tangents, log = scaled(system.push(t, tangents), log)
        found = log + log_norm(tangents)
        with np.errstate(invalid="ignore"):
            if not (np.abs(found - before) > tolerance).any() and not np.isnan(before).any():
                break
        before, back, unused = found, np.linalg.qr(tangents)[0].transpose(0, 2, 1), np.zeros(system.batch)
        for t in range(last, -1, -1):
            back, unused = scaled(system.pull(t, back), unused)
        start = back.transpose(0, 2, 1)
    return found


def step_norms(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """ln of ‖J‖₂, of its bound √(‖J‖₁ ‖J‖_∞), and of |det J|^{1/n}, each (B,), for matrices (B, n, n)."""
    size = matrices.shape[-1]
    absolute = np.abs(matrices)
    with np.errstate(divide="ignore"):
        one, most = np.log(absolute.sum(axis=1).max(axis=1)), np.log(absolute.sum(axis=2).max(axis=1))
    return {"norm": log_norm(matrices), "mixed": 0.5 * (one + most), "det": np.linalg.slogdet(matrices)[1] / size}


def peak_growth(matrix: np.ndarray, most: int = 2000) -> tuple[float, int]:
    """max over k of ‖J^k‖₂ and where it is; infinite where the spectral radius is above 1."""
    radius = float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))
    if radius > 1 + 1e-12:
        return np.inf, most
    peak, at, power = 1.0, 0, np.eye(len(matrix))
    for k in range(1, most + 1):
        power = power @ matrix
        size = float(np.linalg.norm(power, 2))
        if size > peak:
            peak, at = size, k
        if size < 1e-3:
            break
    return peak, at
