"""The linear-Gaussian state-space model in letters.

The table of words (public) and letters (here) is in DESIGN: transition A, observation C, state_noise Q, observation_noise R,
noise_cross S, state_intercept b, observation_intercept d, input_to_state B, input_to_observation D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from statewise.kernels import limits

AXES = {"A": 2, "C": 2, "Q": 2, "R": 2, "S": 2, "b": 1, "d": 1, "B": 2, "D": 2}  # of all parts but the start


@dataclass(frozen=True)
class System:
    """x[t+1] = A x[t] + B u[t] + b + w[t],  y[t] = C x[t] + D u[t] + d + v[t],  Cov(w, v) = [[Q, S], [S', R]].

    x[1] ~ N(m0, P0 + κ Pinf), κ → ∞: Pinf is zero unless the start is diffuse. Shapes: A (n, n), C (p, n), Q (n, n), R (p, p),
    S (n, p), b (n,), d (p,), B (n, u), D (p, u), m0 (n,), P0 and Pinf (n, n).

    With `which` (rows,) the system changes from row to row of some sequences: all parts but the start have one more axis in front, and row t has
    the parts at ``which[t]``, among them the A and Q that lead from t to t + 1 (see `statewise.inference.varying`).

    `form` is how covariances are carried: 'covariance', 'square_root', or 'auto' for the first, and the second where that loses its digits.
    """

    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    S: np.ndarray
    b: np.ndarray
    d: np.ndarray
    B: np.ndarray
    D: np.ndarray
    m0: np.ndarray
    P0: np.ndarray
    Pinf: np.ndarray
    which: np.ndarray | None = None
    form: str = "auto"

    @property
    def n(self) -> int:
        return self.A.shape[-1]

    @property
    def p(self) -> int:
        return self.C.shape[-2]

    @property
    def noise(self) -> np.ndarray:
        """(n + p, n + p) the covariance of (w[t], v[t]); (G, n + p, n + p) of a system that changes."""
        upper = np.concatenate([self.Q, self.S], axis=-1)
        lower = np.concatenate([np.swapaxes(self.S, -1, -2), self.R], axis=-1)
        return np.concatenate([upper, lower], axis=-2)

    def rows(self, letter: str) -> np.ndarray:
        """A part for each row, or the one that serves all rows."""
        part: np.ndarray = getattr(self, letter)
        return part if self.which is None else part[self.which]


def system(
    A: np.ndarray,
    C: np.ndarray,
    Q: np.ndarray,
    R: np.ndarray,
    m0: np.ndarray,
    P0: np.ndarray,
    *,
    Pinf: np.ndarray | None = None,
    S: np.ndarray | None = None,
    b: np.ndarray | None = None,
    d: np.ndarray | None = None,
    B: np.ndarray | None = None,
    D: np.ndarray | None = None,
) -> System:
    """A `System` with zeros for what is not given."""
    n, p = A.shape[0], C.shape[0]
    u = next((M.shape[1] for M in (B, D) if M is not None), 0)
    return System(
        A,
        C,
        Q,
        R,
        np.zeros((n, p)) if S is None else S,
        np.zeros(n) if b is None else b,
        np.zeros(p) if d is None else d,
        np.zeros((n, u)) if B is None else B,
        np.zeros((p, u)) if D is None else D,
        m0,
        P0,
        np.zeros((n, n)) if Pinf is None else Pinf,
    )


def alone(sys: System, at: int) -> System:
    """The system of the rows whose `which` is `at`, of one that changes."""
    return replace(sys, which=None, **{letter: getattr(sys, letter)[at] for letter in AXES})


def with_finite_part(sys: System) -> System:
    """The same law, with a finite part of unit size in what is diffuse: observations that the start alone explains then cost no digits."""
    return replace(sys, P0=sys.P0 + sys.Pinf)


def stationary_start(A: np.ndarray, Q: np.ndarray, b: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean (I − A)⁻¹ b and covariance P = A P A' + Q of the stationary law; None if A has a root on or outside the unit circle."""
    n = A.shape[0]
    if n and np.abs(np.linalg.eigvals(A)).max() >= 1.0:
        return None
    P, power, work, step = np.empty((4, n, n))
    if not limits.stationary_covariance(np.ascontiguousarray(A), np.ascontiguousarray(Q), P, power, work, step):
        return None
    mean = np.zeros(n) if b is None else np.linalg.solve(np.eye(n) - A, b)
    return mean, P


def in_basis(sys: System, T: np.ndarray, inverse: np.ndarray) -> System:
    """The same law of y with the state z of x = T z."""

    def of_noise(cov: np.ndarray) -> np.ndarray:
        moved = inverse @ cov @ inverse.T
        return np.ascontiguousarray(0.5 * (moved + np.swapaxes(moved, -1, -2)))

    return replace(
        sys,
        A=inverse @ sys.A @ T,
        C=sys.C @ T,
        Q=of_noise(sys.Q),
        S=inverse @ sys.S,
        b=sys.b @ inverse.T,
        B=inverse @ sys.B,
        m0=inverse @ sys.m0,
        P0=of_noise(sys.P0),
        Pinf=of_noise(sys.Pinf),
    )


def without_offsets(sys: System, values: np.ndarray, inputs: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Observations (rows, p) less D u + d, and the state offsets B u + b as (rows, n) or (1, n)."""
    y, offset = values, sys.b[None] if sys.which is None else sys.b[sys.which]
    if sys.d.any():
        y = y - sys.rows("d")
    if inputs is not None and sys.D.shape[-1]:
        y = y - weighted(sys.rows("D"), inputs)
    if inputs is not None and sys.B.shape[-1] and sys.B.any():
        offset = weighted(sys.rows("B"), inputs) + offset
    y = y.view()
    y.setflags(write=False)  # always: numba compiles a kernel anew for writable arrays
    return y, offset


def weighted(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """M r for each of the rows (…, u), with one matrix M (k, u) or one for each row (…, k, u)."""
    return rows @ weights.T if weights.ndim == 2 else (weights @ rows[..., None])[..., 0]


def square_root(cov: np.ndarray) -> np.ndarray:
    """(n, k) factor F with F F' = cov, for a positive semi-definite matrix whose correlation matrix has rank k."""
    if not cov.any():
        return np.zeros((len(cov), 0))
    units = np.sqrt(np.diag(cov))
    units = np.where(units > 0, units, 1.0)
    values, vectors = np.linalg.eigh(cov / units[:, None] / units)
    kept = values > 1e-14 * max(values[-1], 0.0)
    return np.ascontiguousarray(units[:, None] * vectors[:, kept] * np.sqrt(values[kept]))
