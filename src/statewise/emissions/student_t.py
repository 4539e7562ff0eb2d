"""Student-t emissions: heavy tails, (y − locations[k]) / scales[k] has a t law with dofs[k] degrees of freedom."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from statewise._core import checks
from statewise.emissions.columnwise import Column, ColumnwiseEmission

_DOFS = (0.2, 1e3)  # beyond the upper end the law is a normal one to three digits of its kurtosis
_SWEEPS, _SETTLED = 20, 1e-9


class StudentTEmission(ColumnwiseEmission):
    """Columns independent given the state; the mean is the location above 1 degree of freedom, the variance
    s² ν / (ν − 2) above 2 (infinite below).

    The M step alternates reweighted means and scales with the best degrees of freedom for the weighted likelihood itself
    (ECME: Liu & Rubin, Biometrika 81 (1994)); no squared scale falls below `min_variance` times the column's variance.
    """

    kind: ClassVar[str] = "student-t"
    parameter_names: ClassVar[tuple[str, ...]] = ("locations", "scales", "dofs")
    needs_spread: ClassVar[bool] = True
    ranges: ClassVar[dict[str, checks.Real]] = {
        "locations": checks.Real(),
        "scales": checks.Real(0.0, 1e140, open_low=True),
        "dofs": checks.Real(0.1, 1e6),
    }

    @staticmethod
    def _law(parameters: Column) -> Any:
        return stats.t(parameters["dofs"], loc=parameters["locations"], scale=parameters["scales"])

    @property
    def means(self) -> np.ndarray:
        return self._parameters["locations"]

    @property
    def variances(self) -> np.ndarray:
        nu = self._parameters["dofs"]
        factor = np.where(nu > 2, nu / np.where(nu > 2, nu - 2, 1.0), np.inf)
        return np.asarray(self._parameters["scales"] ** 2 * factor)

    def points(self, rows: Any) -> np.ndarray:
        first = {name: table[0] for name, table in self._parameters.items()}
        return np.asarray(np.nan_to_num((rows.values - first["locations"]) / first["scales"]))

    @staticmethod
    def _log_density(y: np.ndarray, parameters: Column) -> np.ndarray:
        z = (y - parameters["locations"]) / parameters["scales"]
        return _log_t(z * z, parameters["dofs"]) - np.log(parameters["scales"])

    @staticmethod
    def _maximum(y: np.ndarray, weights: np.ndarray, now: Column, floor: float) -> Column:
        located = [
            _best(y, weights[:, k], now["locations"][k], now["scales"][k], now["dofs"][k], floor)
            for k in range(weights.shape[1])
        ]
        return dict(zip(StudentTEmission.parameter_names, np.array(located).T, strict=True))

    def _at_bound(self, parameters: Column) -> tuple[int, ...]:
        assert self._floor is not None
        low = (parameters["scales"] ** 2 <= self._floor * (1 + 1e-9)).any(axis=1)
        return tuple(int(k) for k in np.flatnonzero(low))

    @classmethod
    def _judge(cls, y: np.ndarray) -> tuple[np.ndarray, str]:
        return np.zeros(len(y), dtype=bool), "numbers"

    @staticmethod
    def _start(mean: float, variance: float) -> dict[str, float]:
        return {"locations": mean, "scales": float(np.sqrt(variance / 2)), "dofs": 4.0}


def _log_t(square: np.ndarray, nu: Any) -> np.ndarray:
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(np.pi * nu)
    return np.asarray(constant - (nu + 1) / 2 * np.log1p(square / nu))


def _best(
    y: np.ndarray, weights: np.ndarray, location: float, scale: float, nu: float, floor: float
) -> tuple[float, float, float]:
    """(location, scale, degrees of freedom) after sweeps of ECME, each of which raises the weighted likelihood."""
    used = weights > weights.max() * 1e-12
    y, weights = y[used], weights[used]
    total = weights.sum()
    for _ in range(_SWEEPS):
        before = (location, scale, nu)
        z2 = ((y - location) / scale) ** 2
        trust = weights * (nu + 1) / (nu + z2)
        location = float(trust @ y / trust.sum())
        scale = float(np.sqrt(max(trust @ (y - location) ** 2 / total, floor)))
        nu = _best_dof(((y - location) / scale) ** 2, weights, nu)
        moved = abs(location - before[0]) + abs(scale - before[1])
        if moved < _SETTLED * scale and abs(nu - before[2]) < _SETTLED * nu:
            break
    return location, scale, nu


def _best_dof(square: np.ndarray, weights: np.ndarray, now: float) -> float:
    def loss(log_nu: float) -> float:
        return -float(weights @ _log_t(square, np.exp(log_nu)))

    low, high = np.log(_DOFS)
    here = np.log(now)
    near = minimize_scalar(
        loss, bounds=(max(low, here - 1.0), min(high, here + 1.0)), method="bounded", options={"xatol": 1e-8}
    )
    return float(np.exp(near.x)) if near.fun <= loss(here) else now
