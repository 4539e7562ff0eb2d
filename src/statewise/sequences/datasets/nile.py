"""Yearly flow of the Nile at Aswan, 1871–1970.

Source: Cobb, The problem of the Nile: conditional solution to a changepoint problem, Biometrika 65 (1978) 243–251, as
in statsmodels.datasets.nile.

Licence: public domain, as stated in statsmodels.

Units: 10^8 m^3 a year.

Columns: volume, the discharge. Times are years. The level falls around 1898.
"""

from __future__ import annotations

from statewise.sequences.datasets.embedded import embedded
from statewise.sequences.sequences import Sequences


def load() -> Sequences:
    """100 years."""
    return embedded("nile")
