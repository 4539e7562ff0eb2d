"""Weekly carbon dioxide in the air at Mauna Loa, Hawaii, 1958-03-29 to 2001-12-29, with gaps.

Source: Keeling and Whorf, Atmospheric CO2 concentrations derived from flask air samples at sites in the SIO network,
Carbon Dioxide Information Analysis Center, 2004, as in statsmodels.datasets.co2.

Licence: public domain, as stated in statsmodels.

Units: parts per million by volume.

Columns: co2, weekly mean, missing in 59 weeks. Times are Saturdays. The season is 52 steps; a year has 52.18.
"""

from __future__ import annotations

from statewise.sequences.datasets.embedded import embedded
from statewise.sequences.sequences import Sequences


def load() -> Sequences:
    """2284 weeks."""
    return embedded("co2")
