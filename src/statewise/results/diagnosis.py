"""Tests of a model's standardised one-step residuals, which are independent standard normal numbers if the model is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc

from statewise.results.base import Result, new_figure
from statewise.results.residual_tests import autocorrelation, jarque_bera, ljung_box, standardised_moments

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Diagnosis(Result):
    """Three tests a column (Durbin & Koopman 2012, §2.12, §7.5).

    Attributes:
        columns: names.
        residuals: (rows, p), NaN where there is none.
        lags: of the Ljung–Box test; its χ² has lags − fitted degrees of freedom, `fitted` for the lag coefficients estimated.
        ljung_box, ljung_box_p: (p,) Q = n (n + 2) Σ r[k]²/(n − k) (Ljung & Box 1978); p is NaN without degrees of freedom.
        jarque_bera, jarque_bera_p: (p,) n (skewness²/6 + excess kurtosis²/24) against χ²₂.
        heteroscedasticity, heteroscedasticity_p: (p,) H, the squares of the last third over those of the first, against F; two-sided.
    """

    columns: tuple[str, ...]
    residuals: np.ndarray
    lags: int
    fitted: int
    ljung_box: np.ndarray
    ljung_box_p: np.ndarray
    jarque_bera: np.ndarray
    jarque_bera_p: np.ndarray
    heteroscedasticity: np.ndarray
    heteroscedasticity_p: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row a column: the three statistics and their p values."""
        import pandas as pd

        names = ("ljung_box", "jarque_bera", "heteroscedasticity")
        cells = {name + end: getattr(self, name + end) for name in names for end in ("", "_p")}
        return pd.DataFrame(cells, index=pd.Index(self.columns, name="column"))

    def plot(self) -> Figure:
        """The residuals of each column over the rows, with ±1.96."""
        figure, axes = new_figure(len(self.columns))
        for axis, column, residuals in zip(axes, self.columns, self.residuals.T, strict=True):
            axis.plot(residuals, linewidth=0.8)
            for bound in (-1.96, 1.96):
                axis.axhline(bound, color="0.7", linewidth=0.8)
            axis.set_ylabel(column)
        return figure


def diagnosis(
    residuals: np.ndarray, lengths: np.ndarray, columns: tuple[str, ...], lags: int, fitted: int
) -> Diagnosis:
    """The tests of packed residuals (rows, p). Pairs across sequences do not count, and those with a missing member count as zero."""
    found = np.array([_column(each, lengths, lags, fitted) for each in residuals.T]).reshape(-1, 6)
    return Diagnosis(columns, residuals, lags, fitted, *found.T)


def _column(residuals: np.ndarray, lengths: np.ndarray, lags: int, fitted: int) -> tuple[float, ...]:
    known = np.isfinite(residuals)
    e = residuals[known]
    n = e.size
    if n < 3 or np.ptp(e) == 0:
        return (np.nan,) * 6
    acf, pairs = autocorrelation(residuals, lengths, lags)
    portmanteau, p = ljung_box(acf, pairs, n, lags - fitted)
    normality, normality_p = jarque_bera(*standardised_moments(e), n)
    third = round(n / 3)
    H = float(np.sum(e[-third:] ** 2) / np.sum(e[:third] ** 2)) if third else np.nan
    below = float(betainc(third / 2, third / 2, H / (1 + H))) if third else np.nan
    return portmanteau, p, normality, normality_p, H, 2 * min(below, 1 - below)
