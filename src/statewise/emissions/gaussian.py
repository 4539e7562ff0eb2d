"""Gaussian emissions: y given state k is N(means[k], Σ[k]), with Σ spherical, diagonal, shared or full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions import gaussian_dense, gaussian_diagonal
from statewise.emissions.base import Emission, moved
from statewise.emissions.rows import Rows
from statewise.results.marginals import MixtureMarginals

COVARIANCES = ("diag", "full", "tied", "spherical")
_SINGULAR = 1e-8  # least eigenvalue of correlations from which a matrix is inverted with digits to spare
_RANGE = (1e-280, 1e280)  # variances outside cannot be squared or inverted in doubles


class GaussianEmission(Emission):
    """K normal laws on p columns.

    Args:
        means: (K, p).
        covariances: by `covariance`: "diag" (K, p) variances, "full" (K, p, p), "tied" (p, p) one for all states,
            "spherical" (K,) one variance for all columns.
        min_variance: in an M step, no variance in any direction falls below this share of the columns' variances over
            all data. Without a floor the likelihood is unbounded: a state that settles on one point has density
            infinity. The step stays the exact maximum under that constraint; `notes` says which states it holds up.
        floor: (p,) the resulting variances; computed from the data by `prepared` and `m_step` where None.
        held: the states whose last M step met the floor.
    """

    kind: ClassVar[str] = "gaussian"
    parameter_names: ClassVar[tuple[str, ...]] = ("means", "covariances")
    option_names: ClassVar[tuple[str, ...]] = ("covariance", "min_variance")
    needs_spread: ClassVar[bool] = True

    def __init__(
        self,
        means: np.ndarray,
        covariances: np.ndarray,
        covariance: str = "diag",
        min_variance: float = 1e-6,
        floor: np.ndarray | None = None,
        held: tuple[int, ...] = (),
    ) -> None:
        self._means = means
        self._covariances = covariances
        self._covariance = covariance
        self._min_variance = min_variance
        self._floor = floor
        self._held = held

    @classmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        means = np.asarray(parameters["means"])
        means = checks.array("means", means[:, None] if means.ndim == 1 else means, (states, None))
        covariance = options.get("covariance", "diag")
        judged = _judged(covariance, parameters["covariances"], states, means.shape[1])
        return cls(means, judged, **options)

    @classmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        variance = fit_variance(rows)
        mean = rows.moments.mean
        covariance = options.get("covariance", "diag")
        shapes = {
            "diag": np.tile(variance, (states, 1)),
            "full": np.tile(np.diag(variance), (states, 1, 1)),
            "tied": np.diag(variance),
            "spherical": np.full(states, variance.mean()),
        }
        return cls(np.tile(mean, (states, 1)), shapes[covariance], **options).prepared(rows)

    def prepared(self, rows: Rows) -> Self:
        return self._with(floor=self._min_variance * fit_variance(rows))

    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        if not parameters:
            return self
        means = np.asarray(parameters.get("means", self._means))
        if (means.shape[1] if means.ndim == 2 else 1) != self.dim:
            raise InputError(f"`means` has shape {means.shape}; pass one column for each of the data's {self.dim}")
        options = {"covariance": self._covariance, "min_variance": self._min_variance}
        return self.given(self.parameters | dict(parameters), self.states, **options)._with(floor=self._floor)

    def _with(self, **changes: Any) -> Self:
        fields = ("means", "covariances", "covariance", "min_variance", "floor", "held")
        return type(self)(**({name: getattr(self, f"_{name}") for name in fields} | changes))

    # --- sizes and parameters -----------------------------------------------------------------------------------------

    @property
    def states(self) -> int:
        return self._means.shape[0]

    @property
    def dim(self) -> int:
        return self._means.shape[1]

    @property
    def n_parameters(self) -> int:
        K, p = self._means.shape
        pairs = p * (p + 1) // 2
        return K * p + {"diag": K * p, "full": K * pairs, "tied": pairs, "spherical": K}[self._covariance]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return {"means": self._means, "covariances": self._covariances}

    def domain(self, name: str) -> str:
        if name == "means":
            return "plain"
        return "positive" if self._covariance in ("diag", "spherical") else "covariance"

    @property
    def means(self) -> np.ndarray:
        return self._means

    @property
    def variances(self) -> np.ndarray:
        if self._covariance == "diag":
            return self._covariances
        if self._covariance == "spherical":
            return np.repeat(self._covariances[:, None], self.dim, axis=1)
        return np.diagonal(self._dense(), axis1=1, axis2=2)

    def _dense(self) -> np.ndarray:
        """(K, p, p) covariance matrices."""
        if self._covariance in ("diag", "spherical"):
            return self.variances[:, :, None] * np.eye(self.dim)
        return np.broadcast_to(self._covariances, (self.states, self.dim, self.dim))

    @property
    def notes(self) -> tuple[str, ...]:
        if not self._held:
            return ()
        which = "all states share" if self._covariance == "tied" else f"state {', '.join(map(str, self._held))} has"
        return (
            f"{which} a covariance that is held up by the floor min_variance={self._min_variance:g} (of the columns' "
            "variances): it has collapsed onto few or equal points, and the likelihood depends on the floor; use fewer "
            "states, a simpler covariance, or more data",
        )

    def reordered(self, order: np.ndarray) -> Self:
        covariances = self._covariances.copy() if self._covariance == "tied" else self._covariances[order]
        held = moved(self._held, order)
        return self._with(means=self._means[order], covariances=covariances, held=held)

    # --- likelihood and M step ----------------------------------------------------------------------------------------

    def log_likelihood(self, rows: Rows) -> np.ndarray:
        values = rows.values
        if self._covariance in ("diag", "spherical"):
            return gaussian_diagonal.log_likelihood(values, self._means, self.variances)
        return gaussian_dense.log_likelihood(values, self._means, self._dense())

    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        if self._floor is None:
            return self.prepared(rows).m_step(rows, weights)
        if self._covariance in ("diag", "spherical"):
            step = gaussian_diagonal.m_step
            spherical = self._covariance == "spherical"
            found = step(rows, weights, self._means, self.variances, self._floor, spherical)
        else:
            tied = self._covariance == "tied"
            found = gaussian_dense.m_step(rows.values, weights, self._means, self._dense(), self._floor, tied)
        return self._with(means=found.means, covariances=found.covariances, held=found.held)

    @property
    def rises(self) -> bool:
        if self._held or self._covariance in ("diag", "spherical"):
            return not self._held
        scale = np.sqrt(np.diagonal(self._covariances, axis1=-2, axis2=-1))
        correlations = self._covariances / (scale[..., :, None] * scale[..., None, :])
        return bool(np.linalg.eigvalsh(correlations).min() > _SINGULAR)

    # --- laws ---------------------------------------------------------------------------------------------------------

    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        drawn = rng.standard_normal((*paths.shape, self.dim))
        roots = np.linalg.cholesky(self._dense())
        for state in range(self.states):
            here = paths == state
            drawn[here] = self._means[state] + drawn[here] @ roots[state].T
        return drawn

    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> MixtureMarginals:
        shape = (*weights.shape[:-1], self.dim, self.states)
        spread = np.broadcast_to(weights[..., None, :], shape)
        return MixtureMarginals(spread, np.broadcast_to(self._means.T, shape), np.broadcast_to(self.variances.T, shape))

    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        return normal_scores(rows, weights, self._means.T, self.variances.T)


def normal_scores(rows: Rows, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """(rows, p) Φ⁻¹(F(y)), F the mixture of N(means, variances), each (..., p, K), with shares `weights` (rows, K)."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)[:, None, :]
    z = (np.where(rows.seen, rows.values, 0.0)[:, :, None] - means) / np.sqrt(variances)
    below = np.logaddexp.reduce(log_weights + log_ndtr(z), axis=-1)
    above = np.logaddexp.reduce(log_weights + log_ndtr(-z), axis=-1)
    # From the smaller tail: 1 − F rounds to 0 beyond eight standard deviations, log F does not.
    scores = np.where(below < above, ndtri_exp(np.minimum(below, 0.0)), -ndtri_exp(np.minimum(above, 0.0)))
    return np.where(rows.seen, scores, np.nan)


def _judged(covariance: str, given: Any, states: int, dim: int) -> np.ndarray:
    """`covariances` in the natural shape, positive definite."""
    given = np.asarray(given)
    if covariance == "spherical":
        return _positive(checks.array("covariances", given, (states,)))
    if covariance == "diag":
        flat = dim == 1 and given.ndim == 1
        return _positive(checks.array("covariances", given[:, None] if flat else given, (states, dim)))
    if covariance == "tied":
        return _definite("covariances", checks.covariance("covariances", given, dim))
    given = checks.array("covariances", given, (states, dim, dim))
    names = [f"covariances[{k}]" for k in range(states)]
    return np.stack([_definite(name, checks.covariance(name, given[k], dim)) for k, name in enumerate(names)])


def _positive(variances: np.ndarray) -> np.ndarray:
    if not ((variances > _RANGE[0]) & (variances < _RANGE[1])).all():
        raise InputError(
            f"`covariances` has the variance {variances.min():g}; pass numbers above 0 (variances, not sds)"
        )
    return variances


def _definite(name: str, matrix: np.ndarray) -> np.ndarray:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise InputError(f"`{name}` is singular; a Gaussian density needs a positive definite covariance") from None
    return matrix


def fit_variance(rows: Rows) -> np.ndarray:
    """The columns' variances, or the reason why no Gaussian can be fitted to a column."""
    found = rows.moments
    for d in range(rows.dim):
        if np.isnan(found.mean[d]):
            raise InputError(f"{rows.named(d)} has no observed entry; leave it out of the values")
        if found.low[d] == found.high[d]:
            count = int(found.count[d])
            raise InputError(
                f"{rows.named(d)} is constant at {found.low[d]:g} in all {count} observed entries, so a Gaussian has no "
                "maximum likelihood there; leave the column out"
            )
        if not _RANGE[0] < found.variance[d] < _RANGE[1]:
            raise InputError(
                f"{rows.named(d)} has variance {found.variance[d]:g}, beyond doubles; measure it in another unit"
            )
    return found.variance
