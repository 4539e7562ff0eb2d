"""Gamma emissions: positive numbers, f(y | state k) = y^{a−1} e^{−y/s} / (Γ(a) s^a), a = shapes[k], s = scales[k]."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma, gammaln

from statewise._core import checks
from statewise.emissions.columnwise import Column, ColumnwiseEmission, weighted_mean

_SHAPES = (1e-6, 1e12)


class GammaEmission(ColumnwiseEmission):
    """Numbers above 0 with mean a s and variance a s²; both parameters (K, p), the scale in the unit of the data.

    A state that settles on equal values has density infinity: no variance falls below `min_variance` times the column's.
    """

    kind: ClassVar[str] = "gamma"
    parameter_names: ClassVar[tuple[str, ...]] = ("shapes", "scales")
    needs_spread: ClassVar[bool] = True
    ranges: ClassVar[dict[str, checks.Real]] = {
        "shapes": checks.Real(0.0, 1e15, open_low=True),
        "scales": checks.Real(0.0, 1e280, open_low=True),
    }

    @staticmethod
    def _law(parameters: Column) -> Any:
        return stats.gamma(parameters["shapes"], scale=parameters["scales"])

    @staticmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        shape, z = parameters["shapes"], y / parameters["scales"]
        return np.asarray((shape - 1) * np.log(z) - z - gammaln(shape) - np.log(parameters["scales"]))

    @staticmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        mean = weighted_mean(y, weights)
        gap = np.log(mean) - weighted_mean(np.log(y), weights)
        shape = np.minimum([_best_shape(float(g)) for g in gap], mean * mean / floor)
        return {"shapes": shape, "scales": mean / shape}

    def _at_bound(self, parameters: Column) -> tuple[int, ...]:
        assert self._floor is not None
        variance = parameters["shapes"] * parameters["scales"] ** 2
        return tuple(int(k) for k in np.flatnonzero((variance <= self._floor * (1 + 1e-9)).any(axis=1)))

    @classmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        return y <= 0, "numbers above 0"

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        return {"shapes": mean * mean / variance, "scales": variance / mean}


def _best_shape(gap: float) -> float:
    """The a with log a − ψ(a) = log of the mean − mean of the logs."""
    low, high = np.log(_SHAPES)

    def excess(log_shape: float) -> float:
        return float(log_shape - digamma(np.exp(log_shape))) - gap

    if excess(high) >= 0:
        return _SHAPES[1]
    return float(np.exp(brentq(excess, low, high, xtol=1e-13))) if excess(low) > 0 else _SHAPES[0]
