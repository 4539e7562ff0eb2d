"""The naive forecasts that every table starts from, as probability models."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.inference.filtering import run_filter
from statewise.inference.system import System, system
from statewise.models.base import Trainable
from statewise.models.linear_gaussian import LinearGaussian, refuse_dependence
from statewise.results.fit import FitResult
from statewise.sequences.scaling import refuse_tiny


class Naive(LinearGaussian, Trainable):
    """The (seasonal) random walk y[t] = y[t−s] + e[t],  e ~ N(0, Σ): the next season is like the last one.

    Args:
        season: s, from 1; 1 is the plain random walk, whose forecast repeats the last value.

    Σ is the mean square of the seasonal differences. The first season has a diffuse start, and missing entries are integrated out. Inputs
    are ignored. `sample` starts where the first training sequence ended.

    Source: Hyndman & Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed. (2021), §5.2.

    Example:
        >>> Naive().fit([1.0, 2.0, 4.0]).forecast([1.0, 2.0, 4.0], steps=2).mean.ravel()
        array([4., 4.])
    """

    kind = "naive"
    options = {"season": checks.Integer(1, 10_000)}

    def __init__(self, season: int = 1) -> None:
        super().__init__(season=season)

    @property
    def name(self) -> str:
        season = self._options["season"]
        return "Naive" if season == 1 else f"SeasonalNaive({season})"

    def fit(self, data: Any) -> Self:
        """Estimate Σ from the differences between observed steps a season apart, in place.

        Raises:
            InputError: no two observed steps are a season apart, all differences are zero, or columns are linearly dependent.
        """
        begun = time.perf_counter()
        self._schema = None
        seqs = self._receive(data)
        refuse_tiny(seqs)
        season = self._options["season"]
        differences = np.concatenate([np.zeros((0, seqs.dim))] + [y[season:] - y[:-season] for y in seqs.arrays()])
        seen = ~np.isnan(differences)
        if not seen.any(axis=0).all():
            raise InputError(
                f"no two observed steps are {season} apart in the sequences (lengths up to {seqs.lengths.max()}); "
                "pass longer ones or a shorter season"
            )
        filled = np.where(seen, differences, 0.0)
        pairs = np.maximum(seen.T.astype(float) @ seen, 1.0)
        cov = _nearest_covariance(filled.T @ filled / pairs)
        if not (np.diag(cov) > 0).all():
            flat = seqs.columns[int(np.argmin(np.diag(cov)))]
            raise InputError(
                f"column {flat!r} repeats itself exactly every {season} steps; there is no noise to estimate: leave it out"
            )
        refuse_dependence(cov, seqs.columns)
        self._learn_schema(seqs)
        self._set_parameters({"innovation_cov": cov, "start": np.zeros(season * seqs.dim)})
        last = run_filter(self.system, seqs[:1], store=False)
        self._set_parameters({"innovation_cov": cov, "start": last.mean_next[0]})
        steps = seqs.n_observed_steps
        log_prob = float(self.log_prob(seqs).sum())
        self.fit_result = FitResult(
            Outcome.CLOSED_FORM, log_prob, steps, np.array([log_prob]), time.perf_counter() - begun
        )
        return self

    def _future_inputs(self, given: Any, count: int, steps: int) -> None:
        return None

    def _build_system(self) -> System:
        cov, start = self.parameters["innovation_cov"], self.parameters["start"]
        p, season = len(cov), self._options["season"]
        n = p * season
        A = np.roll(np.eye(n), p, axis=1)
        C = np.eye(p, n)
        Q = np.zeros((n, n))
        Q[n - p :, n - p :] = cov
        zero = np.zeros((n, n))
        return system(A, C, Q, np.zeros((p, p)), start, zero, Pinf=np.eye(n))

    @property
    def innovation_cov(self) -> np.ndarray:
        """(p, p) Σ."""
        return self.parameters["innovation_cov"]

    @property
    def n_parameters(self) -> int:
        """The lower half of Σ."""
        p = len(self.innovation_cov)
        return p * (p + 1) // 2


def _nearest_covariance(matrix: np.ndarray) -> np.ndarray:
    """Pairwise estimates need not be positive semi-definite; negative eigenvalues become zero."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values[0] >= 0:
        return matrix
    return (vectors * np.maximum(values, 0.0)) @ vectors.T
