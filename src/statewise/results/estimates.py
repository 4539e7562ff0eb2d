"""Estimated parameters with their standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from statewise.results.base import Result, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Estimates(Result):
    """Maximum-likelihood estimates, asymptotically normal about the truth.

    Attributes:
        names: of the parameters.
        estimate: (m,) in the data's units.
        covariance: (m, m) from the observed information by the delta method; NaN where the information is not positive definite.
        condition: condition number of the information, scaled to a unit diagonal; above 1e10 or so some parameters are hardly identified.
        step: relative step of the differences that the information was taken by.
        notes: what a careful user should know.
    """

    names: tuple[str, ...]
    estimate: np.ndarray
    covariance: np.ndarray
    condition: float
    step: float
    notes: tuple[str, ...] = ()

    @property
    def standard_error(self) -> np.ndarray:
        """(m,) square roots of the variances."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.diag(self.covariance))

    @property
    def z(self) -> np.ndarray:
        """(m,) estimate / standard error; NaN where a parameter has no error."""
        error = self.standard_error
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(error > 0, self.estimate / error, np.nan)

    @property
    def p_value(self) -> np.ndarray:
        """(m,) of the two-sided test that the parameter is zero."""
        return np.asarray(2 * ndtr(-np.abs(self.z)))

    def interval(self, level: float = 95) -> np.ndarray:
        """(m, 2) estimate ∓ z · standard error at a level in per cent."""
        half = float(ndtri(0.5 + level / 200)) * self.standard_error
        return np.stack([self.estimate - half, self.estimate + half], axis=-1)

    def to_frame(self) -> pd.DataFrame:
        """One row a parameter: estimate, standard_error, z, p_value, lower, upper (95 %)."""
        import pandas as pd

        lower, upper = self.interval().T
        columns = {
            "estimate": self.estimate,
            "standard_error": self.standard_error,
            "z": self.z,
            "p_value": self.p_value,
            "lower": lower,
            "upper": upper,
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="parameter"))

    def plot(self) -> Figure:
        """Estimates with their 95 % intervals."""
        figure, axes = new_figure(1)
        figure.set_figheight(max(2.6, 0.22 * len(self.names)))
        places = np.arange(len(self.names))[::-1]
        axes[0].errorbar(self.estimate, places, xerr=1.959963984540054 * self.standard_error, fmt="o", markersize=3)
        axes[0].axvline(0.0, color="0.7", linewidth=0.8)
        axes[0].set_yticks(places, self.names)
        return figure
