"""The capability of a model to say how well its parameters are known."""

from __future__ import annotations

import abc
import os

import numpy as np

from statewise._core.errors import NotFittedError
from statewise.models.base import Model
from statewise.results.estimates import Estimates
from statewise.results.fit import FitResult

MOST_KEPT = 64  # parameters up to which `summary` shows, and a file keeps, the table


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
