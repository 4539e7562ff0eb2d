"""The registry of emission families: name -> class."""

from __future__ import annotations

from statewise.emissions.base import Emission
from statewise.emissions.bernoulli import BernoulliEmission
from statewise.emissions.categorical import CategoricalEmission
from statewise.emissions.exponential import ExponentialEmission
from statewise.emissions.gamma import GammaEmission
from statewise.emissions.gaussian import GaussianEmission
from statewise.emissions.gaussian_mixture import GaussianMixtureEmission
from statewise.emissions.linear_gaussian import AutoregressiveEmission, RegressionEmission
from statewise.emissions.negative_binomial import NegativeBinomialEmission
from statewise.emissions.poisson import PoissonEmission
from statewise.emissions.student_t import StudentTEmission

_FAMILIES: tuple[type[Emission], ...] = (
    AutoregressiveEmission,
    BernoulliEmission,
    CategoricalEmission,
    ExponentialEmission,
    GammaEmission,
    GaussianEmission,
    GaussianMixtureEmission,
    NegativeBinomialEmission,
    PoissonEmission,
    RegressionEmission,
    StudentTEmission,
)
EMISSIONS: dict[str, type[Emission]] = {family.kind: family for family in _FAMILIES}
