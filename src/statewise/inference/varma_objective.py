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

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray] | None:
        fast = None if self.data is None else self._fast(point)
        if fast is not None:
            return fast
        return algebra.objective_and_gradient(point, self.seqs, self.shape, self.trend)

    def _fast(self, point: np.ndarray) -> tuple[float, np.ndarray] | None:
        if not np.abs(point).max() < 50:
            return None
        par, low = algebra.unpack_with_root(point, self.shape, self.trend)
        A, K = algebra.companion(par)
        k, p, q = len(low), len(par.ar), len(par.ma)
        if p and not _is_stable(A):
            return None
        root = K @ low
        P0, P0_gradient, *work = np.empty((5, *A.shape))
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
        ar = g.ar + (gA + gK)[: k * p].reshape(g.ar.shape)
        ma = g.ma + gK[: k * q].reshape(g.ma.shape)
        return value, algebra.pack_gradient(VarmaParameters(ar, ma, g.mean, g.weights, gcov), low, self.trend)

    def inverse_information(self, point: np.ndarray) -> np.ndarray:
        """Approximate covariance of the maximum-likelihood estimate near `point`: the information of the innovations' squares, by Gauss–Newton.

        The innovations start from zeros, missing entries count as the mean, and Σ is taken as independent of the rest.
        """
        par, low = algebra.unpack_with_root(point, self.shape, self.trend)
        coefficients = algebra.cuts(self.shape, self.trend)[4]
        inverse = np.zeros((point.size, point.size))
        inverse[:coefficients, :coefficients] = _inverse(self._of_coefficients(par))
        inverse[coefficients:, coefficients:] = self._of_cov(low) / self.seqs.rows
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
            jacobian[k:, x] = change[algebra.below_diagonal(k)]
        return (jacobian * np.where(rows == columns, 0.5, 1.0)) @ jacobian.T


def _is_stable(A: np.ndarray) -> bool:
    """Whether the spectral radius is below 1: at once where a power's Frobenius norm is, else by the eigenvalues."""
    power = A
    for _ in range(4):
        power = power @ power
        if np.vdot(power, power) < 1.0:
            return True
    return bool(np.abs(np.linalg.eigvals(A)).max() < 1.0)


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
