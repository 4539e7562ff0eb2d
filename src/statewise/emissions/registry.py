"""The registry of emission families: name -> class."""

from __future__ import annotations

from statewise.emissions.base import Emission
from statewise.emissions.gaussian import GaussianEmission

EMISSIONS: dict[str, type[Emission]] = {GaussianEmission.kind: GaussianEmission}
