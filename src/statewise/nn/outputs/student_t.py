"""Student-t outputs: numbers with outliers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from scipy import special, stats

from statewise.nn.outputs.base import Law, Output, Start, uniform
from statewise.nn.outputs.gaussian import normal_start
from statewise.nn.outputs.maths import NUMPY, Array, Maths

_LEAST_DOF = 2.1  # so that there is a variance
_FIRST_DOF = 10.0


class StudentTOutput(Output):
    """(y − location) / exp log_sd ~ t with ν = 2.1 + softplus(shape) degrees of freedom, column by column.

    exp log_sd is the scale; the standard deviation is √(ν / (ν − 2)) times it.
    """

    name: ClassVar[str] = "student-t"
    continuous: ClassVar[bool] = True

    @property
    def widths(self) -> tuple[int, int, int]:
        return self.dim, self.dim, self.dim

    def start(self, values: np.ndarray) -> Start:
        begin = normal_start(values)
        scale = begin.log_sd + 0.5 * math.log((_FIRST_DOF - 2) / _FIRST_DOF)
        return Start(begin.location, scale, np.full(self.dim, math.log(math.expm1(_FIRST_DOF - _LEAST_DOF))))

    def log_density(self, maths: Maths, law: Law, y: Array, seen: Array) -> Array:
        dof = _LEAST_DOF + maths.softplus(law.shape)
        z = (y - law.location) * maths.exp(-law.log_sd)
        constant = maths.log_gamma((dof + 1) / 2) - maths.log_gamma(dof / 2) - 0.5 * maths.log(math.pi * dof)
        return (seen * (constant - law.log_sd - (dof + 1) / 2 * maths.log1p(z**2 / dof))).sum(-1)

    def sharpness(self, maths: Maths, law: Law) -> Array:
        return maths.exp(-law.log_sd)

    def _law(self, law: Law) -> Any:
        return stats.t(_LEAST_DOF + NUMPY.softplus(law.shape), law.location, np.exp(law.log_sd))

    def mean(self, law: Law) -> np.ndarray:
        return np.asarray(law.location)

    def variance(self, law: Law) -> np.ndarray:
        dof = _LEAST_DOF + NUMPY.softplus(law.shape)
        return np.asarray(np.exp(2 * law.log_sd) * dof / (dof - 2))

    def cdf(self, law: Law, y: np.ndarray) -> np.ndarray:
        return np.asarray(self._law(law).cdf(y))

    def draw(self, law: Law, noise: np.ndarray) -> np.ndarray:
        standard = special.stdtrit(_LEAST_DOF + NUMPY.softplus(law.shape), uniform(noise))
        return np.asarray(law.location + np.exp(law.log_sd) * standard)
