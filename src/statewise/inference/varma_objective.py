"""The log-likelihood of a VARMA as a function of a vector of free parameters, with its gradient and an approximate information matrix."""

from __future__ import annotations

import numpy as np

from statewise.inference import varma as algebra
from statewise.inference import varma_likelihood as exact
from statewise.inference.varma import VarmaParameters
from statewise.kernels import limits
from statewise.kernels import varma as kernels
from statewise.sequences.sequences import Sequences

_MOST_ENTRIES = 20_000_000  # of the innovations' derivatives; above it the moving average is left out of them
_LEAST_EIGENVALUE = 1e-5  # of the information, scaled to a unit diagonal: directions flatter than that are not trusted


class VarmaObjective:
    """point -> (log-likelihood, gradient), or None where the process is not stationary; points are those of `statewise.inference.varma.pack`.

    Complete data take the recursions of `statewise.inference.varma_likelihood`; missing entries, and moving averages far from invertible,
    the Kalman filter and its adjoint.
    """

    def __init__(self, seqs: Sequences, shape: tuple[int, int, int, int], trend: str) -> None:
        self.seqs, self.shape, self.trend = seqs, shape, trend
        self.data = exact.Complete.of(seqs)
        k, p, q, width = shape
        self._blocks = max(p, q, 1)
        self._lower = np.tril_indices(k, -1)
        sizes = [k if trend == "c" else 0, k * width, p * k * k, q * k * k, k, k * (k - 1) // 2]
        self._bounds = np.concatenate([[0], np.cumsum(sizes)])
        self._shift = np.eye(k * self._blocks, k=k)

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray] | None:
        fast = None if self.data is None else self._fast(point)
        if fast is not None:
            return fast
        return algebra.objective_and_gradient(point, self.seqs, self.shape, self.trend)

    def _parts(self, point: np.ndarray) -> tuple[VarmaParameters, np.ndarray]:
        k, p, q, width = self.shape
        at = self._bounds
        low = np.diag(np.exp(point[at[4] : at[5]]))
        low[self._lower] = point[at[5] :]
        mean = point[: at[1]] if self.trend == "c" else np.zeros(k)
        ar, ma = point[at[2] : at[3]].reshape(p, k, k), point[at[3] : at[4]].reshape(q, k, k)
        return VarmaParameters(ar, ma, mean, point[at[1] : at[2]].reshape(k, width), low @ low.T), low

    def _fast(self, point: np.ndarray) -> tuple[float, np.ndarray] | None:
        if not np.abs(point).max() < 50:
            return None
        par, low = self._parts(point)
        k, r, p, q = len(low), self._blocks, len(par.ar), len(par.ma)
        A, K = self._shift.copy(), np.zeros((k * r, k))
        A[: k * p, :k] = K[: k * p] = par.ar.reshape(-1, k)
        K[: k * q] += par.ma.reshape(-1, k)
        if p and not np.abs(np.linalg.eigvals(A)).max() < 1.0:
            return None
        root = K @ low
        P0, P0_gradient, *work = np.empty((5, k * r, k * r))
        if not limits.stationary_covariance(A, root @ root.T, P0, *work):
            return None
        assert self.data is not None
        found = exact.log_prob_and_derivatives(self.data, par.ar, par.ma, par.mean, par.weights, par.cov, P0)
        if found is None or not np.isfinite(found[0]):
            return None
        value, g = found
        # Through P₀ = A P₀ A' + K Σ K': X solves the adjoint equation.
        if not limits.stationary_covariance(np.ascontiguousarray(A.T), g.P0, P0_gradient, *work):
            return None
        X = P0_gradient
        gA, XK = 2 * (X @ A @ P0)[:, :k], X @ K
        gK = 2 * XK @ par.cov
        gcov = g.cov + K.T @ XK
        ar = g.ar.reshape(-1, k) + (gA + gK)[: k * p]
        ma = g.ma.reshape(-1, k) + gK[: k * q]
        glow = (gcov + gcov.T) @ low
        parts = [g.mean if self.trend == "c" else g.mean[:0], g.weights.ravel(), ar.ravel(), ma.ravel()]
        return value, np.concatenate([*parts, np.diag(glow) * np.diag(low), glow[self._lower]])

    def inverse_information(self, point: np.ndarray) -> np.ndarray:
        """Approximate covariance of the maximum-likelihood estimate near `point`: the information of the innovations' squares, by Gauss–Newton.

        The innovations start from zeros, missing entries count as the mean, and Σ is taken as independent of the rest.
        """
        par, low = self._parts(point)
        at = self._bounds
        inverse = np.zeros((point.size, point.size))
        first = slice(0, at[4])
        inverse[first, first] = _inverse(self._of_coefficients(par))
        inverse[at[4] :, at[4] :] = self._of_cov(low) / self.seqs.rows
        return inverse

    def _of_coefficients(self, par: VarmaParameters) -> np.ndarray:
        k, p, q, width = self.shape
        rows, offsets = self.seqs.rows, np.array(self.seqs.offsets, np.int64)
        y = self.seqs.values - par.mean
        inputs = self.seqs.inputs if width and self.seqs.inputs is not None else np.zeros((rows, 0))
        y = np.where(np.isnan(y), 0.0, y - inputs @ par.weights.T)
        plain = rows * k * k * (k * (p + q) + width + 1) > _MOST_ENTRIES
        ma = par.ma[:0] if plain else par.ma
        e = exact.innovations(par.ar, par.ma, y, offsets)
        ones = np.ones((rows, 1 if self.trend == "c" else 0))
        # Regressors (rows, m) of every equation, and the derivative of each innovation in its coefficients, (m, equation, rows, k).
        outer = [(x, True) for x in (ones, inputs)]
        lags = [np.hstack([_lagged(x, offsets, i + 1) for i in range(count)]) for x, count in ((y, p), (e, q)) if count]
        columns = []
        for x, filtered in [*outer, *((x, False) for x in lags)]:
            for a in range(k):
                wide = np.zeros((x.shape[1] * rows, k))
                wide[:, a] = -x.T.ravel()
                repeated = np.concatenate([offsets[:-1] + c * rows for c in range(x.shape[1])] + [[x.shape[1] * rows]])
                de = exact.innovations(par.ar, ma, wide, repeated) if filtered else wide
                if not filtered:
                    kernels.divide(ma, repeated, de)
                columns.append((x.shape[1], a, de.reshape(x.shape[1], rows, k)))
        return self._gram(columns, np.linalg.inv(par.cov))

    def _gram(self, columns: list[tuple[int, int, np.ndarray]], inverse: np.ndarray) -> np.ndarray:
        """J' (I ⊗ Σ⁻¹) J with the coefficients in the order of `pack`."""
        k = self.shape[0]
        kinds = [columns[i : i + k] for i in range(0, len(columns), k)]
        pieces = []
        for kind, each in enumerate(kinds):
            block = np.stack([de for _, _, de in each])  # (equation, regressor, rows, k)
            if kind < 2:
                pieces.append(block.reshape(-1, *block.shape[2:]))
            else:
                lags = block.shape[1] // k
                ordered = block.reshape(k, lags, k, *block.shape[2:]).transpose(1, 0, 2, 3, 4)
                pieces.append(ordered.reshape(-1, *block.shape[2:]))
        J = np.concatenate(pieces)
        root = np.linalg.cholesky(inverse)
        flat = (J @ root).reshape(len(J), self.seqs.rows * k)
        return flat @ flat.T

    def _of_cov(self, low: np.ndarray) -> np.ndarray:
        """T times the covariance of log diag and off-diagonal of the Cholesky factor: ½ for each diagonal entry of L⁻¹ dL, 1 for each below it."""
        k = len(low)
        rows, columns = np.tril_indices(k)
        jacobian = np.zeros((k * (k + 1) // 2, len(rows)))
        for x, (i, j) in enumerate(zip(rows, columns, strict=True)):
            change = np.zeros((k, k))
            change[:, j] = low[:, i]
            jacobian[:k, x] = np.diag(change) / np.diag(low)
            jacobian[k:, x] = change[self._lower]
        return (jacobian * np.where(rows == columns, 0.5, 1.0)) @ jacobian.T


def _lagged(x: np.ndarray, offsets: np.ndarray, by: int) -> np.ndarray:
    moved = np.zeros_like(x)
    moved[by:] = x[:-by]
    for first in offsets[1:-1]:
        moved[first : first + by] = 0.0
    return moved


def _inverse(information: np.ndarray) -> np.ndarray:
    """The inverse, with directions that are almost flat held to a least curvature."""
    if not len(information):
        return information
    units = np.sqrt(np.diag(information))
    units = np.where(units > 0, units, 1.0)
    values, vectors = np.linalg.eigh(information / units[:, None] / units)
    inverse: np.ndarray = (vectors / np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T / units[:, None] / units
    return (inverse + inverse.T) / 2
