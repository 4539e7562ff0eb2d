"""The capability of a model to say how well its parameters are known."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from statewise._core.errors import NotFittedError
from statewise.fitting.information import STEP, delta_method, observed_information
from statewise.fitting.mle import Objective
from statewise.models.base import Model
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult

MOST_KEPT = 64  # parameters up to which `summary` shows, and a file keeps, the table


@dataclass(frozen=True)
class Part:
    """A likelihood with parameters of its own: of one column of a model whose columns are independent.

    Attributes:
        names: (k,) of the parameters in the data's units.
        objective: log-likelihood and gradient at a point.
        point: (m,) the maximum.
        inside: (m,) which entries of the point are not at a bound.
        natural: the parameters (k,) in the data's units at a point.
        known: (k,) which of them have a standard error: those that are not at a bound.
    """

    names: Sequence[str]
    objective: Objective
    point: np.ndarray
    inside: np.ndarray
    natural: Callable[[np.ndarray], np.ndarray]
    known: np.ndarray


def estimates_of(parts: Sequence[Part], notes: Sequence[str] = ()) -> Estimates:
    """Estimates of independent parts; parameters at a bound are held there, and have no standard error."""
    names = tuple(name for part in parts for name in part.names)
    found = [_covariance_of(part) for part in parts]
    condition = max((condition for _, condition in found), default=1.0)
    if not np.isfinite(condition):
        notes = (*notes, "the information matrix is not positive definite")
    bound = [name for part in parts for name, known in zip(part.names, part.known, strict=True) if not known]
    if bound:
        notes = (*notes, f"at the bound of what is allowed, so without a standard error: {', '.join(bound)}")
    covariance = np.asarray(block_diag(*[block for block, _ in found]))
    estimate = np.concatenate([part.natural(part.point) for part in parts])
    return Estimates(names, estimate, covariance, condition, STEP, tuple(notes))


def _covariance_of(part: Part) -> tuple[np.ndarray, float]:
    def whole(free: np.ndarray) -> np.ndarray:
        point = part.point.copy()
        point[part.inside] = free
        return point

    def objective(free: np.ndarray) -> tuple[float, np.ndarray] | None:
        found = part.objective(whole(free))
        return None if found is None else (found[0], found[1][part.inside])

    free = part.point[part.inside]
    information = observed_information(objective, free)
    covariance = delta_method(lambda x: part.natural(whole(x)), free, information.covariance)
    covariance[~part.known], covariance[:, ~part.known] = np.nan, np.nan
    return covariance, information.condition


class HasStandardErrors(Model, abc.ABC):
    """A model whose fit can tell standard errors; a subclass computes them in `_estimate`."""

    _known: tuple[FitResult, Estimates] | None = None  # the last estimates, and the fit that they belong to

    @abc.abstractmethod
    def _estimate(self) -> Estimates | None:
        """Estimates with their covariance, from the data of the last fit; None if there was none in this process."""

    def standard_errors(self) -> Estimates:
        """Estimates, standard errors, z and p values from the observed information; computed at the first call after a fit.

        θ̂ is asymptotically N(θ, I⁻¹) with I = −∂² log L/∂θ∂θ' by central differences of the exact gradient, and the delta method for the
        parameters in the data's units. It holds inside the parameter space: not for a unit root or a zero variance.
        Source: Efron & Hinkley, Biometrika 65 (1978).

        Raises:
            NotFittedError: no `fit` in this process; a file holds standard errors, but neither training data nor covariances.

        Example:
            >>> VARMA(p=1).fit(seqs).standard_errors().to_frame().columns[0]
            'estimate'
        """
        if self.fit_result is not None and (self._known is None or self._known[0] is not self.fit_result):
            found = self._estimate()
            self._known = None if found is None else (self.fit_result, found)
        if self.fit_result is None or self._known is None:
            raise NotFittedError(
                f"standard errors need the training data, which this {type(self).__name__} does not have; call `fit(sequences)` first"
            )
        return self._known[1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, with the table of its standard errors, to the folder `path`; see `statewise.models.save`."""
        self._coefficients()
        super().save(path)

    def _coefficients(self) -> dict[str, object] | None:
        """What `summary` shows and a file keeps of the estimates, in plain numbers, None where unknown; nothing for large models."""
        fit = self.fit_result
        if fit is None or self.n_parameters > MOST_KEPT:
            return None
        if "coefficients" not in fit.details:
            try:
                known = self.standard_errors()
            except NotFittedError:
                return None
            fit.details["coefficients"] = {
                "names": list(known.names),
                "estimate": known.estimate.tolist(),
                "standard_error": [None if np.isnan(error) else float(error) for error in known.standard_error],
                "condition": known.condition if np.isfinite(known.condition) else None,
                "step": known.step,
                "notes": list(known.notes),
            }
        kept: dict[str, object] = fit.details["coefficients"]
        return kept
