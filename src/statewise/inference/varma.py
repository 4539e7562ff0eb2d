"""The algebra of VARMA models: innovations form, starting values, and the vector of free parameters.

y[t] − μ[t] = Σ Φᵢ (y[t−i] − μ[t−i]) + e[t] + Σ Θⱼ e[t−j],  μ[t] = mean + D u[t],  e ~ N(0, Σ).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from statewise.inference.smoothing import Gradient, log_prob_gradient, with_stationary_start
from statewise.inference.steady import predictor_gain
from statewise.inference.system import System, stationary_start, system
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True)
class VarmaParameters:
    """ar (p, k, k), ma (q, k, k), mean (k,), weights D (k, u), cov Σ (k, k)."""

    ar: np.ndarray
    ma: np.ndarray
    mean: np.ndarray
    weights: np.ndarray
    cov: np.ndarray


def innovations_system(par: VarmaParameters) -> System | None:
    """The innovations form with k·max(p, q, 1) states and a stationary start; None if the AR part is not stationary.

    s[t+1] = A s[t] + K e[t], y[t] = s₁[t] + e[t]: A has Φᵢ in its first block column and identities above the diagonal, K stacks Φᵢ + Θᵢ,
    Q = K Σ K', R = Σ, S = K Σ (Lütkepohl 2005, §11.6, in predictor form).
    """
    A, K = companion(par)
    S = K @ par.cov
    Q = S @ K.T
    start = stationary_start(A, Q)
    if start is None:
        return None
    C = np.eye(len(par.mean), len(A))
    return system(A, C, (Q + Q.T) / 2, par.cov, *start, S=S, d=par.mean, D=par.weights)


def companion(par: VarmaParameters) -> tuple[np.ndarray, np.ndarray]:
    """A and K of `innovations_system`."""
    k, p, q = len(par.mean), len(par.ar), len(par.ma)
    n = k * max(p, q, 1)
    A, K = np.eye(n, k=k), np.zeros((n, k))
    A[: k * p, :k] = K[: k * p] = par.ar.reshape(-1, k)
    K[: k * q] += par.ma.reshape(-1, k)
    return A, K


def responses(ar: np.ndarray, ma: np.ndarray, steps: int) -> np.ndarray:
    """Ψ (steps + 1, k, k): Ψ[0] = I and Ψ[h] = Θ[h] + Σ Φᵢ Ψ[h−i] (Lütkepohl 2005, eq. 11.3.12)."""
    k = ar.shape[1]
    psi = np.zeros((steps + 1, k, k))
    psi[0] = np.eye(k)
    for h in range(1, steps + 1):
        if h <= len(ma):
            psi[h] = ma[h - 1]
        for i in range(min(h, len(ar))):
            psi[h] += ar[i] @ psi[h - 1 - i]
    return psi


def make_invertible(par: VarmaParameters) -> VarmaParameters:
    """The same process with the MA roots that lie inside the unit circle reflected out of it: the steady innovations of the filter."""
    sys = innovations_system(par)
    if sys is None or not len(par.ma):
        return par
    k = len(par.mean)
    K, F, _, _ = predictor_gain(sys)
    ma = np.stack([K[k * j : k * (j + 1)] for j in range(len(par.ma))])
    shared = min(len(par.ar), len(par.ma))
    ma[:shared] -= par.ar[:shared]
    return VarmaParameters(par.ar, ma, par.mean, par.weights, (F + F.T) / 2)


def pack(par: VarmaParameters, trend: str) -> np.ndarray:
    """Free parameters as a vector; Σ by its Cholesky factor with a logarithmic diagonal."""
    chol = np.linalg.cholesky(par.cov)
    k = len(par.mean)
    root = chol[below_diagonal(k)]
    parts = [par.mean if trend == "c" else np.zeros(0), par.weights.ravel(), par.ar.ravel(), par.ma.ravel()]
    return np.concatenate([*parts, np.log(np.diag(chol)), root])


def unpack(point: np.ndarray, shape: tuple[int, int, int, int], trend: str) -> VarmaParameters:
    """The inverse of `pack`; `shape` is (k, p, q, u)."""
    return unpack_with_root(point, shape, trend)[0]


def unpack_with_root(
    point: np.ndarray, shape: tuple[int, int, int, int], trend: str
) -> tuple[VarmaParameters, np.ndarray]:
    """`unpack`, and the Cholesky factor of Σ."""
    k, p, q, u = shape
    mean, weights, ar, ma, diagonal, below = (point[a:b] for a, b in itertools.pairwise(cuts(shape, trend)))
    low = np.zeros((k, k))
    low.ravel()[:: k + 1] = np.exp(diagonal)
    low[below_diagonal(k)] = below
    cov = low @ low.T
    mean = mean if trend == "c" else np.zeros(k)
    return VarmaParameters(ar.reshape(p, k, k), ma.reshape(q, k, k), mean, weights.reshape(k, u), cov), low


@cache
def below_diagonal(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries of a k × k matrix below its diagonal."""
    return np.tril_indices(k, -1)


@cache
def cuts(shape: tuple[int, int, int, int], trend: str) -> tuple[int, ...]:
    """Where mean, D, Φ, Θ, log diagonal and rest of the Cholesky factor begin in the vector of `pack`, and where the last ends."""
    k, p, q, u = shape
    sizes = [k if trend == "c" else 0, k * u, p * k * k, q * k * k, k, k * (k - 1) // 2]
    return tuple(itertools.accumulate(sizes, initial=0))


def pack_gradient(gradient: VarmaParameters, low: np.ndarray, trend: str) -> np.ndarray:
    """The gradient in the vector of `pack` from that in the parameters, Σ as if its entries were free; `low` is its Cholesky factor."""
    mean = gradient.mean if trend == "c" else gradient.mean[:0]
    k = len(low)
    root = (gradient.cov + gradient.cov.T) @ low
    parts = [mean, gradient.weights.ravel(), gradient.ar.ravel(), gradient.ma.ravel()]
    return np.concatenate([*parts, root.ravel()[:: k + 1] * low.ravel()[:: k + 1], root[below_diagonal(k)]])


def objective_and_gradient(
    point: np.ndarray, seqs: Sequences, shape: tuple[int, int, int, int], trend: str
) -> tuple[float, np.ndarray] | None:
    """Log-likelihood and its exact gradient at a point of `pack`; None where the process is not stationary."""
    if not np.abs(point).max() < 50:
        return None
    par, low = unpack_with_root(point, shape, trend)
    sys = innovations_system(par)
    found = None if sys is None else log_prob_gradient(sys, seqs)
    if sys is None or found is None:
        return None
    value, g = found
    through = with_stationary_start(sys, g)
    if through is None or not np.isfinite(value):
        return None
    return value, pack_gradient(_pull_back(par, sys, through), low, trend)


def _pull_back(par: VarmaParameters, sys: System, g: Gradient) -> VarmaParameters:
    """The gradient in the parameters from that in the matrices of the innovations form."""
    k = len(par.mean)
    K = np.linalg.solve(par.cov, sys.S.T).T
    gK = (g.S + 2 * g.Q @ K) @ par.cov
    gcov = g.R + K.T @ g.S + K.T @ g.Q @ K
    ar, ma = (g.A[:, :k] + gK)[: par.ar.size // k], gK[: par.ma.size // k]
    return VarmaParameters(ar.reshape(par.ar.shape), ma.reshape(par.ma.shape), g.d, g.D, gcov)


def start_parameters(seqs: Sequences, p: int, q: int, trend: str) -> VarmaParameters:
    """Hannan–Rissanen: residuals of a long autoregression stand in for the innovations in one regression for Φ and Θ.

    Missing entries are replaced by the mean for this purpose only. Source: Hannan & Rissanen, Biometrika 69 (1982).
    """
    mean = np.nanmean(seqs.values, axis=0) if trend == "c" else np.zeros(seqs.dim)
    centred = np.where(np.isnan(seqs.values), 0.0, seqs.values - mean)
    weights = np.zeros((seqs.dim, 0))
    if seqs.inputs is not None:
        inputs = seqs.inputs - (seqs.inputs.mean(axis=0) if trend == "c" else 0.0)
        weights = np.linalg.lstsq(inputs, centred, rcond=None)[0].T
        centred = centred - inputs @ weights.T
        mean = mean - (weights @ seqs.inputs.mean(axis=0) if trend == "c" else 0.0)
    series = np.split(centred, seqs.offsets[1:-1])
    long_order = min(max(p + q, 2) + 6, max(int(seqs.lengths.max()) // (3 * seqs.dim), 1))
    innovations = [_residuals(y, _regress([y], [y], long_order, 0)[0]) for y in series] if q else series
    ar, ma, cov = _regress_all(series, innovations, p, q)
    ar, ma = _inside(ar), -_inside(-ma)
    return VarmaParameters(ar, ma, mean, weights, cov)


def random_parameters(near: VarmaParameters, rng: np.random.Generator) -> VarmaParameters:
    """Random stationary and invertible Φ and Θ with the mean, D and Σ of `near`, to start a search far from it."""
    k = len(near.mean)
    ar = _inside(rng.standard_normal((len(near.ar), k, k)), rng.uniform(0.3, 0.95))
    ma = -_inside(rng.standard_normal((len(near.ma), k, k)), rng.uniform(0.3, 0.95))
    return VarmaParameters(ar, ma, near.mean, near.weights, near.cov)


def _regress_all(
    series: list[np.ndarray], innovations: list[np.ndarray], p: int, q: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ar, ma = _regress(series, innovations, p, q)
    k = series[0].shape[1]
    fitted = [y - sum((_lag(y, i + 1) @ ar[i].T for i in range(p)), np.zeros_like(y)) for y in series]
    fitted = [
        f - sum((_lag(e, j + 1) @ ma[j].T for j in range(q)), np.zeros_like(f))
        for f, e in zip(fitted, innovations, strict=True)
    ]
    residuals = np.concatenate(fitted)
    cov = residuals.T @ residuals / len(residuals)
    return ar, ma, cov + 1e-6 * np.trace(cov) / k * np.eye(k) + 1e-12 * np.eye(k)


def _regress(series: list[np.ndarray], innovations: list[np.ndarray], p: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of y on p of its own lags and q lags of the innovations."""
    k = series[0].shape[1]
    columns = [
        np.hstack([_lag(y, i + 1) for i in range(p)] + [_lag(e, j + 1) for j in range(q)] + [np.zeros((len(y), 0))])
        for y, e in zip(series, innovations, strict=True)
    ]
    X, Y = np.concatenate(columns), np.concatenate(series)
    coefficients = np.linalg.lstsq(X, Y, rcond=None)[0] if p + q else np.zeros((0, k))
    blocks = coefficients.reshape(p + q, k, k).transpose(0, 2, 1)
    return blocks[:p], blocks[p:]


def _residuals(y: np.ndarray, ar: np.ndarray) -> np.ndarray:
    fitted = np.zeros_like(y)
    for i, phi in enumerate(ar):
        fitted += _lag(y, i + 1) @ phi.T
    return y - fitted


def _lag(y: np.ndarray, by: int) -> np.ndarray:
    lagged = np.zeros_like(y)
    lagged[by:] = y[:-by]
    return lagged


def _inside(blocks: np.ndarray, radius: float = 0.97) -> np.ndarray:
    """Shrink the polynomial I − Σ Bᵢ Lⁱ, by Bᵢ sⁱ, until its companion matrix has its roots within `radius`."""
    r = len(blocks)
    if not r:
        return blocks
    k = blocks.shape[1]
    companion = np.eye(k * r, k=-k)
    companion[:k] = np.hstack(list(blocks))
    largest = float(np.abs(np.linalg.eigvals(companion)).max())
    if largest <= radius:
        return blocks
    return blocks * (radius / largest) ** np.arange(1, r + 1)[:, None, None]
