"""The diagonal linear recurrence one number at a time: the definition of correct for `statewise.kernels.linear_scan` and what stands on it.

Nothing of ours is imported.
"""

from __future__ import annotations

import cmath
import math

import numpy as np


def scan(a: np.ndarray, b: np.ndarray, start: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """h[t] = a[t] h[t−1] + b[t] for a, b (T, B, H), start (B, H); 0 from each sequence's length on."""
    h = np.zeros_like(b)
    for s in range(b.shape[1]):
        for k in range(b.shape[2]):
            value = start[s, k]
            for t in range(int(lengths[s])):
                value = a[t, s, k] * value + b[t, s, k]
                h[t, s, k] = value
    return h


def gradient(
    a: np.ndarray, b: np.ndarray, start: np.ndarray, lengths: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of Re Σ conj(g) h in a, b and start, by the sum over all pairs of steps: ∂h[t]/∂b[s] = a[t] … a[s+1]."""
    da, db, dstart = np.zeros_like(a), np.zeros_like(b), np.zeros_like(start)
    h = scan(a, b, start, lengths)
    for s in range(b.shape[1]):
        for k in range(b.shape[2]):
            for t in range(int(lengths[s])):
                carried = 1.0
                for u in range(t, -1, -1):
                    before = h[u - 1, s, k] if u else start[s, k]
                    db[u, s, k] += np.conj(carried) * g[t, s, k]
                    da[u, s, k] += np.conj(carried * before) * g[t, s, k]
                    carried = carried * a[u, s, k]
                dstart[s, k] += np.conj(carried) * g[t, s, k]
    return da, db, dstart


def lru(params: dict, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (T, H) and last state (N,) of one linear recurrent unit on x (T, d): Orvieto et al. (2023), appendix A."""
    outputs = []
    for row in x:
        new = np.empty(len(state), dtype=complex)
        for k in range(len(state)):
            eigenvalue = cmath.exp(-math.exp(params["nu_log"][k]) + 1j * math.exp(params["theta_log"][k]))
            drive = sum(params["input"][k, j] * row[j] for j in range(len(row)))
            new[k] = eigenvalue * state[k] + math.exp(params["gamma_log"][k]) * drive
        state = new
        outputs.append((params["output"] @ state).real + params["skip"] @ row)
    return np.array(outputs), state
