"""Memory capacity of a linear recurrence, exactly."""

from __future__ import annotations

import numpy as np
from scipy.linalg import schur, solve_triangular
from scipy.signal import lfilter

_TAIL = 1e-17  # of the powers of A, below which they are nothing
_DOUBLINGS = 60
_NEW = 1e-12  # of a direction's length, below which it is none that the earlier ones do not have


def linear_capacity(A: np.ndarray, B: np.ndarray, lags: int, state_noise: float = 0.0) -> tuple[np.ndarray, float]:
    """MC[k] for k = 0 … lags of s[t] = A s[t−1] + B u[t] + noise under independent inputs of unit variance, and their sum over all k.

    ::

        MC[k] = tr B' (Aᵏ)' Σ⁻¹ Aᵏ B,   Σ = Σ over k of Aᵏ (B B' + v I) (Aᵏ)'

    Σ is never formed: its condition is the square of that of the Krylov matrix [B, A B, A² B, …], which is hopeless already for fifty
    units. Without noise the sum is the matrix's rank, from a Krylov basis that is orthogonalised as it grows, and MC[k] is the weight
    of block k in an orthonormal basis of its row space: the responses of first-order filters with the eigenvalues as poles, each driven by
    what the all-pass filters of those before let through (Takenaka 1925, Malmquist 1926; of several inputs, the factors of
    Hammarling's method).

    Args:
        A: (n, n), with spectral radius below 1.
        B: (n, d).
        lags: K.
        state_noise: v, the variance of independent noise on each state.

    Source: Ballarin, Grigoryeva & Ortega, *Memory of recurrent networks: do we compute it right?* (arXiv 2305.01457).
    """
    if state_noise:
        return _with_noise(A, B, lags, state_noise)
    Q = controllable(A, B)
    rank = Q.shape[1]
    if not rank:
        return np.zeros(lags + 1), 0.0
    T, Z = schur(Q.T @ A @ Q, output="complex")
    return _responses(T, Z.conj().T @ (Q.T @ B), lags), float(rank)


def controllable(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """(n, r) an orthonormal basis of the span of B, A B, A² B, …: a new direction is A times the last one, less the earlier ones."""
    basis = np.zeros((len(A), 0))
    size = float(np.linalg.norm(A, 2)) if A.size else 0.0
    waiting = [(column, float(np.linalg.norm(B))) for column in B.T]
    while waiting and basis.shape[1] < len(A):
        vector, scale = waiting.pop(0)
        for _ in range(2):  # twice is enough
            vector = vector - basis @ (basis.T @ vector)
        length = np.linalg.norm(vector)
        if length > _NEW * scale:
            basis = np.column_stack([basis, vector / length])
            waiting.append((A @ basis[:, -1], size))
    return basis


def _responses(T: np.ndarray, B: np.ndarray, lags: int) -> np.ndarray:
    """(lags + 1,) Σ of squared responses to an impulse in each input, of an orthonormal realisation of the pair (T upper triangular, B)."""
    n, d = B.shape
    through = np.zeros(
        (d, d, lags + 1), complex
    )  # what reaches the next filter, by its place and the input that was struck
    through[np.arange(d), np.arange(d), 0] = 1.0
    capacity = np.zeros(lags + 1)
    B = B.astype(complex)
    for j in range(n - 1, -1, -1):
        pole, b = T[j, j], B[j]
        room = np.sqrt(max(1.0 - abs(pole) ** 2, 0.0))
        length = np.linalg.norm(b)
        direction = b / length if length > 0 else np.eye(d)[0]
        gain, scale = room * direction, length / room
        z = lfilter([1.0], [1.0, -pole], np.tensordot(gain, through, 1), axis=-1)
        capacity += (np.abs(z) ** 2).sum(axis=0)
        back, across = _all_pass(pole, gain)
        delayed = np.concatenate([np.zeros((d, 1)), z[:, :-1]], axis=1)
        through = back[:, None, None] * delayed[None] + np.tensordot(across, through, 1)
        upper, column = T[:j, :j], T[:j, j]
        right = np.conj(pole) * column * scale + B[:j] @ gain.conj()
        p = solve_triangular(np.eye(j) - np.conj(pole) * upper, right) if j else right
        by_z = upper @ p + column * scale - p * pole
        by_u = B[:j] - np.outer(p, gain)
        B = np.outer(by_z, back.conj()) + by_u @ across.conj().T
    return capacity


def _all_pass(pole: complex, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """γ (d,) and δ (d, d) that make [[pole, gain], [γ, δ]] unitary, for |pole|² + |gain|² = 1."""
    row = np.concatenate([[pole], gain])
    basis = np.linalg.svd(row[None])[2][1:]  # rows orthogonal to it
    return basis[:, 0], basis[:, 1:]


def _with_noise(A: np.ndarray, B: np.ndarray, lags: int, variance: float) -> tuple[np.ndarray, float]:
    """By the right singular vectors of [B, A B, …, rest, noise], which is well conditioned."""
    n, d = B.shape
    blocks, power = [], B
    for _ in range(lags + 1):
        blocks.append(power)
        power = A @ power
    known = np.hstack([*blocks, _root(A, power)])
    both = np.hstack([known, np.sqrt(variance) * _root(A, np.eye(n))])
    shares = (np.linalg.svd(both, full_matrices=False)[2] ** 2).sum(axis=0)
    return shares[: (lags + 1) * d].reshape(lags + 1, d).sum(axis=1), float(shares[: known.shape[1]].sum())


def _root(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """(n, ≤ n) a factor S with S S' = Σ over k ≥ 0 of Aᵏ B B' (Aᵏ)', by doubling the number of powers and compressing with a QR."""
    S, power = _compressed(B), A
    for _ in range(_DOUBLINGS):
        added = power @ S
        if np.abs(added).max(initial=0.0) <= _TAIL * np.abs(S).max(initial=0.0):
            break
        S, power = _compressed(np.hstack([S, added])), power @ power
    return S


def _compressed(S: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.qr(S.T, mode="r")).T if S.shape[1] > S.shape[0] else S
