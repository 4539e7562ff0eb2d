"""Poisson emissions: counts, P(y | state k) = e^{−λ} λ^y / y!, λ = rates[k]."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats
from scipy.special import gammaln, xlogy

from statewise._core import checks
from statewise.emissions.columnwise import Column, ColumnwiseEmission, weighted_mean, whole_numbers


class PoissonEmission(ColumnwiseEmission):
    """Counts with mean and variance `rates` (K, p), from 0; a state of rate 0 emits only zeros."""

    kind: ClassVar[str] = "poisson"
    parameter_names: ClassVar[tuple[str, ...]] = ("rates",)
    option_names: ClassVar[tuple[str, ...]] = ()
    is_discrete: ClassVar[bool] = True
    ranges: ClassVar[dict[str, checks.Real]] = {"rates": checks.Real(0.0, 1e15)}

    @staticmethod
    def _law(parameters: Column) -> Any:
        return stats.poisson(parameters["rates"])

    @staticmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        return np.asarray(xlogy(y, parameters["rates"]) - parameters["rates"] - gammaln(y + 1))

    @staticmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        return {"rates": weighted_mean(y, weights)}

    @classmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        return whole_numbers(y)

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        return {"rates": mean}
