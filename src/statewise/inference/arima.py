"""The algebra of ARIMA models: multiplied polynomials, the state-space form of the levels, its gradient, starting values.

φ(L) Φ(Lˢ) (Δ(L) n[t] − μ) = θ(L) Θ(Lˢ) e[t],  Δ(L) = (1 − L)ᵈ (1 − Lˢ)ᴰ,  y[t] = n[t] + D u[t],  e ~ N(0, σ²),
with φ(L) = 1 − Σ φᵢ Lⁱ, θ(L) = 1 + Σ θⱼ Lʲ, and Φ, Θ alike (Box, Jenkins & Reinsel 2008, §9.1.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

from statewise.inference import varma
from statewise.inference.smoothing import Gradient, with_stationary_start
from statewise.inference.system import System, system
from statewise.inference.varma import VarmaParameters


@dataclass(frozen=True)
class Orders:
    """(p, d, q)(P, D, Q) with a season of `period` steps; the period is 1 where there is no seasonal part."""

    p: int
    d: int
    q: int
    P: int = 0
    D: int = 0
    Q: int = 0
    period: int = 1

    @property
    def lost(self) -> int:
        """Steps that differencing takes: d + s D."""
        return self.d + self.period * self.D

    @property
    def longest(self) -> tuple[int, int]:
        """Orders of the multiplied autoregressive and moving-average polynomials."""
        return self.p + self.period * self.P, self.q + self.period * self.Q

    @property
    def difference(self) -> np.ndarray:
        """(d + s D,) c in n[t] = Σ c[j] n[t−j] + w[t], w = Δ(L) n."""
        poly = np.ones(1)
        for factor in [_one_less(1)] * self.d + [_one_less(self.period)] * self.D:
            poly = np.convolve(poly, factor)
        return -poly[1:]


@dataclass(frozen=True)
class ArimaParameters:
    """φ (p,), θ (q,), Φ (P,), Θ (Q,), mean μ of the differences, weights D (u,), variance σ² of the innovations."""

    ar: np.ndarray
    ma: np.ndarray
    seasonal_ar: np.ndarray
    seasonal_ma: np.ndarray
    mean: float
    weights: np.ndarray
    var: float

    def expanded(self, period: int) -> VarmaParameters:
        """The ARMA process of the differences, as a VARMA of one column."""
        ar = -multiply(-self.ar, -self.seasonal_ar, period)
        ma = multiply(self.ma, self.seasonal_ma, period)
        column = (slice(None), None, None)
        return VarmaParameters(
            ar[column], ma[column], np.array([self.mean]), self.weights[None], np.array([[self.var]])
        )


def multiply(plain: np.ndarray, seasonal: np.ndarray, period: int) -> np.ndarray:
    """Coefficients of L, L², … in (1 + Σ aᵢ Lⁱ)(1 + Σ bⱼ L^{sj})."""
    return np.asarray(np.convolve(np.r_[1.0, plain], _stretched(seasonal, period))[1:])


def multiply_gradient(
    gradient: np.ndarray, plain: np.ndarray, seasonal: np.ndarray, period: int
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient in both factors from that in the product's coefficients."""
    f, g, whole = np.r_[1.0, plain], _stretched(seasonal, period), np.r_[0.0, gradient]
    of_plain = np.array([whole[i : i + len(g)] @ g for i in range(1, len(f))])
    of_seasonal = np.array([whole[period * j : period * j + len(f)] @ f for j in range(1, len(seasonal) + 1)])
    return of_plain, of_seasonal


def stationary(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients φ of a stationary autoregression from any numbers x, and the Jacobian ∂φ/∂x, by partial autocorrelations x / √(1 + x²).

    Source: Monahan, Biometrika 71 (1984), for the map; Durbin's recursion for φ.
    """
    partial, steep = x / np.sqrt(1.0 + x**2), (1.0 + x**2) ** -1.5
    phi, jacobian = np.zeros(len(x)), np.zeros((len(x), len(x)))
    for k in range(len(x)):
        before, moved = phi[:k].copy(), jacobian[:k].copy()
        phi[:k] = before - partial[k] * before[::-1]
        phi[k] = partial[k]
        jacobian[:k] = moved - partial[k] * moved[::-1]
        jacobian[:k, k] = -before[::-1] * steep[k]
        jacobian[k, k] = steep[k]
    return phi, jacobian


def unconstrained(phi: np.ndarray) -> np.ndarray:
    """The inverse of `stationary`."""
    left, x = np.array(phi, dtype=float), np.empty(len(phi))
    for k in range(len(phi) - 1, -1, -1):
        partial = left[k]
        x[k] = partial / np.sqrt(1.0 - partial**2)
        left = (left[:k] + partial * left[:k][::-1]) / (1.0 - partial**2)
    return x


def inverse_roots(ma: np.ndarray) -> np.ndarray:
    """λ in 1 + Σ θⱼ zʲ = Π (1 − λⱼ z)."""
    return np.asarray(np.roots(np.r_[1.0, ma]), dtype=complex)


def invertible(par: ArimaParameters) -> ArimaParameters:
    """The same process with inverse roots λ outside the unit circle moved to 1 / λ̄, and σ² multiplied by |λ|² (seasonal ones too)."""
    parts, var = [], par.var
    for coefficients in (par.ma, par.seasonal_ma):
        roots = inverse_roots(coefficients)
        outside = np.abs(roots) > 1.0
        var *= float((np.abs(roots[outside]) ** 2).prod())
        roots[outside] = 1.0 / roots[outside].conj()
        full = np.zeros(len(coefficients))
        full[: len(roots)] = np.poly(roots).real[1:] if len(roots) else 0.0
        parts.append(full if outside.any() else coefficients)
    return replace(par, ma=parts[0], seasonal_ma=parts[1], var=var)


def arima_system(orders: Orders, par: ArimaParameters, start: np.ndarray | None = None) -> System | None:
    """The levels of one column: the innovations form of the ARMA part, then the last d + s D values of n; None if it is not stationary.

    n[t] = Σ c[j] n[t−j] + w[t]. The ARMA part starts in its stationary law, the values before the first diffuse; `start` is where `sample` takes them
    to be.
    """
    inner = varma.innovations_system(par.expanded(orders.period))
    if inner is None:
        return None
    r, m = inner.n, orders.lost
    n = r + m
    A, C, Q, S, b = np.zeros((n, n)), np.zeros((1, n)), np.zeros((n, n)), np.zeros((n, 1)), np.zeros(n)
    A[:r, :r] = inner.A
    C[0, :r], C[0, r:] = inner.C[0], orders.difference
    K = np.zeros(n)
    K[:r] = inner.S[:, 0] / par.var
    if m:
        A[r] = C[0]
        A[r + 1 :, r : n - 1] = np.eye(m - 1)
        K[r], b[r] = 1.0, par.mean
    S[:, 0] = K * par.var
    Q = np.outer(K, S[:, 0])
    m0, P0, Pinf = np.zeros(n), np.zeros((n, n)), np.zeros((n, n))
    P0[:r, :r] = inner.P0
    Pinf[r:, r:] = np.eye(m)
    if start is not None:
        m0[r:] = start
    return system(
        A, C, Q, np.array([[par.var]]), m0, P0, Pinf=Pinf, S=S, b=b, d=np.array([par.mean]), D=par.weights[None]
    )


def arima_gradient(
    orders: Orders, par: ArimaParameters, sys: System, g: Gradient
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Gradient in the multiplied AR and MA coefficients, μ, D and σ², from that in the matrices of `arima_system`.

    None if rounding leaves no stationary law.
    """
    long_ar, long_ma = orders.longest
    r = max(long_ar, long_ma, 1)
    inner = varma.innovations_system(par.expanded(orders.period))
    if inner is None:
        return None
    part = replace(g, A=g.A[:r, :r], Q=g.Q[:r, :r], P0=g.P0[:r, :r], b=np.zeros(r), m0=np.zeros(r))
    through = with_stationary_start(inner, part)
    if through is None:
        return None
    gQ = g.Q.copy()
    gQ[:r, :r] = through.Q
    gQ = 0.5 * (gQ + gQ.T)
    K = sys.S[:, 0] / par.var
    gK = (g.S[:, 0] + 2.0 * gQ @ K) * par.var
    of_mean = g.d + (g.b[r] if orders.lost else 0.0)
    of_var = float(g.R[0, 0] + K @ g.S[:, 0] + K @ gQ @ K)
    return through.A[:long_ar, 0] + gK[:long_ar], gK[:long_ma], of_mean, g.D[0], of_var


def joined(systems: Sequence[System]) -> System:
    """Independent systems with the same inputs as one."""

    def blocks(name: str) -> np.ndarray:
        return np.ascontiguousarray(block_diag(*[getattr(each, name) for each in systems]))

    def rows(name: str) -> np.ndarray:
        return np.concatenate([getattr(each, name) for each in systems])

    A, C, Q, R, S, P0, Pinf = (blocks(name) for name in ("A", "C", "Q", "R", "S", "P0", "Pinf"))
    b, d, D, m0 = (rows(name) for name in ("b", "d", "D", "m0"))
    return system(A, C, Q, R, m0, P0, Pinf=Pinf, S=S, b=b, d=d, D=D)


def differenced(values: np.ndarray, orders: Orders) -> np.ndarray:
    """Δ(L) of the columns of (T, k) values: (T − d − s D, k), empty if there are too few rows."""
    m, c = orders.lost, orders.difference
    if len(values) <= m:
        return values[:0]
    return np.asarray(
        values[m:] - sum((c[j] * values[m - j - 1 : len(values) - j - 1] for j in range(m) if c[j]), np.zeros(1))
    )


def start_coefficients(
    series: Sequence[np.ndarray], orders: Orders
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Candidates (φ, θ, Φ, Θ): Hannan–Rissanen, its autoregression alone, white noise, and a moving average of −0.4.

    `series` are centred differences without gaps. Source: Hannan & Rissanen, Biometrika 69 (1982), here with the lags of both factors only.
    """
    s = orders.period
    lags_ar = [*range(1, orders.p + 1), *(s * j for j in range(1, orders.P + 1))]
    lags_ma = [*range(1, orders.q + 1), *(s * j for j in range(1, orders.Q + 1))]
    nothing = [np.zeros(count) for count in (orders.p, orders.q, orders.P, orders.Q)]
    candidates = [(nothing[0], nothing[1], nothing[2], nothing[3])]
    if lags_ma:
        ma, sma = (np.r_[-0.4, each[1:]] if len(each) else each for each in (nothing[1], nothing[3]))
        candidates.append((nothing[0], ma, nothing[2], sma))
    shortest = max(lags_ar + lags_ma, default=0)
    long = [w for w in series if len(w) > 3 * shortest + 10]
    if not shortest or not long:
        return candidates
    reach = min(shortest + 6, min(map(len, long)) // 3)
    for own in ([], lags_ma) if lags_ma else ([],):
        if not (lags_ar or own):
            continue
        innovations = [w - _fitted(w, [w], [range(1, reach + 1)]) for w in long]
        columns = [
            np.column_stack([_lag(w, i) for i in lags_ar] + [_lag(e, i) for i in own])
            for w, e in zip(long, innovations, strict=True)
        ]
        found = np.linalg.lstsq(np.concatenate(columns), np.concatenate(long), rcond=None)[0]
        ar, ma = found[: len(lags_ar)], np.r_[found[len(lags_ar) :], np.zeros(len(lags_ma) - len(own))]
        candidates.append(
            (_inside(ar[: orders.p]), -_inside(-ma[: orders.q]), _inside(ar[orders.p :]), -_inside(-ma[orders.q :]))
        )
    return candidates


def _inside(phi: np.ndarray, radius: float = 0.95) -> np.ndarray:
    """Shrink 1 − Σ φᵢ Lⁱ, by φᵢ rⁱ, until its inverse roots are within `radius`."""
    largest = float(np.abs(inverse_roots(-phi)).max(initial=0.0))
    return phi if largest <= radius else phi * (radius / largest) ** np.arange(1, len(phi) + 1)


def _fitted(y: np.ndarray, sources: Sequence[np.ndarray], lags: Sequence[range]) -> np.ndarray:
    X = np.column_stack([_lag(x, i) for x, own in zip(sources, lags, strict=True) for i in own])
    return np.asarray(X @ np.linalg.lstsq(X, y, rcond=None)[0])


def _lag(y: np.ndarray, by: int) -> np.ndarray:
    lagged = np.zeros(len(y))
    lagged[by:] = y[:-by]
    return lagged


def _one_less(lag: int) -> np.ndarray:
    """1 − L^lag."""
    poly = np.zeros(lag + 1)
    poly[0], poly[-1] = 1.0, -1.0
    return poly


def _stretched(seasonal: np.ndarray, period: int) -> np.ndarray:
    poly = np.zeros(period * len(seasonal) + 1)
    poly[0], poly[period::period] = 1.0, seasonal
    return poly
