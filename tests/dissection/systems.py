"""Systems whose exponents are known, as Jacobians along trajectories that plain NumPy made."""

from __future__ import annotations

import numpy as np


def rolled(step, start: np.ndarray, steps: int, skip: int = 0) -> np.ndarray:
    """(B, T + 1, n) states of `step` on (B, n), after `skip` steps."""
    state = np.array(start, dtype=float)
    for _ in range(skip):
        state = step(state)
    states = [state]
    for _ in range(steps):
        states.append(step(states[-1]))
    return np.stack(states, axis=1)


def henon(batch: int, steps: int) -> np.ndarray:
    """(B, T, 2, 2) of x' = 1 − 1.4 x² + y, y' = .3 x."""
    start = np.random.default_rng(0).uniform(-0.05, 0.05, (batch, 2))
    states = rolled(lambda s: np.stack([1 - 1.4 * s[:, 0] ** 2 + s[:, 1], 0.3 * s[:, 0]], axis=1), start, steps, 200)
    J = np.zeros((batch, steps, 2, 2))
    J[..., 0, 0], J[..., 0, 1], J[..., 1, 0] = -2.8 * states[:, :-1, 0], 1.0, 0.3
    return J


def logistic(r: float, start: np.ndarray, steps: int) -> np.ndarray:
    """(B, T, 1, 1) of x' = r x (1 − x)."""
    states = rolled(lambda x: r * x * (1 - x), np.asarray(start)[:, None], steps, 2000)
    return (r * (1 - 2 * states[:, :-1]))[..., None]


def lorenz_field(s: np.ndarray) -> np.ndarray:
    """Lorenz 1963 with 10, 28, 8/3; s (B, 3)."""
    x, y, z = s.T
    return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=1)


def runge_kutta(field, s, h: float):
    """One step of the classical fourth-order method."""
    a = field(s)
    b = field(s + h / 2 * a)
    c = field(s + h / 2 * b)
    d = field(s + h * c)
    return s + h / 6 * (a + 2 * b + 2 * c + d)


def lorenz_start(batch: int, h: float = 0.01) -> np.ndarray:
    """(B, 3) places on the attractor."""
    start = np.random.default_rng(1).normal(size=(batch, 3)) + np.array([1.0, 1.0, 25.0])
    return rolled(lambda s: runge_kutta(lorenz_field, s, h), start, 0, 3000)[:, 0]
