"""Mixtures of normal laws: y given state k is N(means[k, m], Σ[k, m]) with chance mixture_weights[k, m]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import logsumexp

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions.base import Emission, drawn
from statewise.emissions.gaussian import GaussianEmission, normal_scores
from statewise.emissions.gaussian_diagonal import NO_WEIGHT
from statewise.emissions.rows import Rows
from statewise.results.marginals import MixtureMarginals


class GaussianMixtureEmission(Emission):
    """K mixtures of M normal laws each, held as K · M normal laws and their shares.

    Args:
        laws: the K · M components, those of a state together.
        shares: (K, M).
    """

    kind: ClassVar[str] = "gaussian-mixture"
    parameter_names: ClassVar[tuple[str, ...]] = ("means", "covariances", "mixture_weights")
    option_names: ClassVar[tuple[str, ...]] = ("covariance", "min_variance", "components")
    needs_spread: ClassVar[bool] = True

    def __init__(self, laws: GaussianEmission, shares: np.ndarray, covariance: str) -> None:
        self._laws = laws
        self._shares = shares
        self._covariance = covariance

    @classmethod
    def given(cls, parameters: Mapping[str, Any], states: int, **options: Any) -> Self:
        covariance, M = options.get("covariance", "diag"), options.get("components", 2)
        _refuse_tied(covariance)
        shares = checks.probabilities("mixture_weights", parameters["mixture_weights"], (states, M))
        means = np.asarray(parameters["means"])
        means = checks.array("means", means[:, :, None] if means.ndim == 2 else means, (states, M, None))
        p = means.shape[2]
        shape = {"diag": (states, M, p), "full": (states, M, p, p), "spherical": (states, M)}[covariance]
        given = np.asarray(parameters["covariances"])
        given = given[:, :, None] if covariance == "diag" and given.ndim == 2 and p == 1 else given
        covariances = checks.array("covariances", given, shape)
        flat = {"means": means.reshape(states * M, p), "covariances": covariances.reshape(states * M, *shape[2:])}
        min_variance = options.get("min_variance", 1e-6)
        laws = GaussianEmission.given(flat, states * M, covariance=covariance, min_variance=min_variance)
        return cls(laws, shares, covariance)

    @classmethod
    def pooled(cls, rows: Rows, states: int, **options: Any) -> Self:
        """Components stand at the column's quantiles, so that an M step can tell them apart."""
        covariance, M = options.get("covariance", "diag"), options.get("components", 2)
        _refuse_tied(covariance)
        laws = GaussianEmission.pooled(
            rows, states * M, covariance=covariance, min_variance=options.get("min_variance", 1e-6)
        )
        at = np.nanquantile(rows.values, (np.arange(M) + 0.5) / M, axis=0)
        laws = laws.replaced({"means": np.tile(at, (states, 1))})
        return cls(laws, np.full((states, M), 1.0 / M), covariance)

    def prepared(self, rows: Rows) -> Self:
        return self._with(self._laws.prepared(rows), self._shares)

    def replaced(self, parameters: Mapping[str, Any]) -> Self:
        if not parameters:
            return self
        options = {"covariance": self._covariance, "components": self.components}
        made = self.given(self.parameters | dict(parameters), self.states, **options)
        if made.dim != self.dim:
            raise InputError(f"`means` is for {made.dim} columns; pass one for each of the data's {self.dim}")
        flat = {name: made._laws.parameters[name] for name in ("means", "covariances")}
        return self._with(self._laws.replaced(flat), made._shares)

    def _with(self, laws: GaussianEmission, shares: np.ndarray) -> Self:
        return type(self)(laws, shares, self._covariance)

    @property
    def components(self) -> int:
        """M."""
        return self._shares.shape[1]

    @property
    def states(self) -> int:
        return self._shares.shape[0]

    @property
    def dim(self) -> int:
        return self._laws.dim

    @property
    def n_parameters(self) -> int:
        return self._laws.n_parameters + self._shares.size - self.states

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        lead = self._shares.shape
        flat = self._laws.parameters
        return {
            "means": flat["means"].reshape(*lead, -1),
            "covariances": flat["covariances"].reshape(*lead, *flat["covariances"].shape[1:]),
            "mixture_weights": self._shares,
        }

    def _by_component(self, table: np.ndarray) -> np.ndarray:
        """(K, M, p)."""
        return table.reshape(*self._shares.shape, -1)

    def domain(self, name: str) -> str:
        return "shares" if name == "mixture_weights" else self._laws.domain(name)

    @property
    def means(self) -> np.ndarray:
        return np.asarray((self._shares[:, :, None] * self._by_component(self._laws.means)).sum(axis=1))

    @property
    def variances(self) -> np.ndarray:
        about = self._by_component(self._laws.variances) + (
            (self._by_component(self._laws.means) - self.means[:, None]) ** 2
        )
        return np.asarray((self._shares[:, :, None] * about).sum(axis=1))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note.replace("state", "component", 1) for note in self._laws.notes)

    def reordered(self, order: np.ndarray) -> Self:
        M = self.components
        flat = (order[:, None] * M + np.arange(M)).reshape(-1)
        return self._with(self._laws.reordered(flat), self._shares[order])

    def _joint(self, rows: Rows) -> np.ndarray:
        """(rows, K, M) log of share times density."""
        with np.errstate(divide="ignore"):
            log_shares = np.log(self._shares)
        return self._laws.log_likelihood(rows).reshape(len(rows), *self._shares.shape) + log_shares

    def log_likelihood(self, rows: Rows) -> np.ndarray:
        return np.asarray(logsumexp(self._joint(rows), axis=2))

    def m_step(self, rows: Rows, weights: np.ndarray) -> Self:
        """One step of EM for the mixtures: the components' responsibilities at the present laws, then their best laws."""
        joint = self._joint(rows)
        joint -= joint.max(axis=2, keepdims=True)
        np.exp(joint, out=joint)
        joint *= (weights / joint.sum(axis=2))[:, :, None]
        flat = joint.reshape(len(rows), -1)
        seen = rows.seen.any(axis=1).astype(np.float64)
        counts = (seen @ flat).reshape(self._shares.shape)
        total = counts.sum(axis=1, keepdims=True)
        shares = np.where(total > NO_WEIGHT, counts / np.where(total > NO_WEIGHT, total, 1.0), self._shares)
        return self._with(self._laws.m_step(rows, flat), shares)

    def sample(
        self,
        paths: np.ndarray,
        rng: np.random.Generator,
        inputs: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        return self._laws.sample(paths * self.components + drawn(self._shares, paths, rng), rng)

    def _spread(self, weights: np.ndarray) -> np.ndarray:
        """(..., K · M) chances of the components when the states have the chances (..., K)."""
        return (weights[..., None] * self._shares).reshape(*weights.shape[:-1], -1)

    def marginals(self, weights: np.ndarray, rows: Rows | None = None) -> MixtureMarginals:
        return self._laws.marginals(self._spread(weights))

    def residuals(self, rows: Rows, weights: np.ndarray) -> np.ndarray:
        return normal_scores(rows, self._spread(weights), self._laws.means.T, self._laws.variances.T)


def _refuse_tied(covariance: str) -> None:
    if covariance == "tied":
        raise InputError(
            "`covariance` is 'tied', which emission 'gaussian-mixture' does not have; pass 'diag', 'full' or 'spherical'"
        )
