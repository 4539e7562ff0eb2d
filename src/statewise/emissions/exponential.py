"""Exponential emissions: waiting times, f(y | state k) = e^{−y/s} / s, s = scales[k]."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats

from statewise._core import checks
from statewise.emissions.columnwise import Column, ColumnwiseEmission, weighted_mean


class ExponentialEmission(ColumnwiseEmission):
    """Numbers from 0 with mean and standard deviation `scales` (K, p), in the unit of the data.

    A state that settles on zeros alone has density infinity: no variance s² falls below `min_variance` times the column's.
    """

    kind: ClassVar[str] = "exponential"
    parameter_names: ClassVar[tuple[str, ...]] = ("scales",)
    needs_spread: ClassVar[bool] = True
    ranges: ClassVar[dict[str, checks.Real]] = {"scales": checks.Real(0.0, 1e280, open_low=True)}

    @staticmethod
    def _law(parameters: Column) -> Any:
        return stats.expon(scale=parameters["scales"])

    @staticmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        return np.asarray(-np.log(parameters["scales"]) - y / parameters["scales"])

    @staticmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        return {"scales": np.maximum(weighted_mean(y, weights), np.sqrt(floor))}

    def _at_bound(self, parameters: Column) -> tuple[int, ...]:
        assert self._floor is not None
        low = (parameters["scales"] <= np.sqrt(self._floor)).any(axis=1)
        return tuple(int(k) for k in np.flatnonzero(low))

    @classmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        return y < 0, "numbers from 0"

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        return {"scales": mean}
