"""Bernoulli emissions: yes or no, P(y = 1 | state k) = probs[k]."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats
from scipy.special import xlog1py, xlogy

from statewise._core import checks
from statewise.emissions.columnwise import Column, ColumnwiseEmission, weighted_mean


class BernoulliEmission(ColumnwiseEmission):
    """Columns of 0 and 1, independent given the state, with the chances `probs` (K, p) of a 1."""

    kind: ClassVar[str] = "bernoulli"
    parameter_names: ClassVar[tuple[str, ...]] = ("probs",)
    option_names: ClassVar[tuple[str, ...]] = ()
    is_discrete: ClassVar[bool] = True
    ranges: ClassVar[dict[str, checks.Real]] = {"probs": checks.Real(0.0, 1.0)}

    @staticmethod
    def _law(parameters: Column) -> Any:
        return stats.bernoulli(parameters["probs"])

    @staticmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        return np.asarray(xlogy(y, parameters["probs"]) + xlog1py(1 - y, -parameters["probs"]))

    @staticmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        return {"probs": np.minimum(weighted_mean(y, weights), 1.0)}

    @classmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        return (y != 0) & (y != 1), "0 (no) and 1 (yes)"

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        return {"probs": mean}
