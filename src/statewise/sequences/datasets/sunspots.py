"""Yearly sunspot numbers, 1700–2008.

Source: National Geophysical Data Center (Zürich relative sunspot numbers, yearly means), as in
statsmodels.datasets.sunspots.

Licence: public domain, as stated in statsmodels.

Units: counts (groups weighted by ten, plus spots), so never negative.

Columns: sunspots, yearly mean. Times are years. The season is 11 steps: the solar cycle takes about 11 years on
average, from 9 to 14 (Hathaway, The Solar Cycle, Living Reviews in Solar Physics 12:4, 2015), so it is a rough period
and not a calendar's.
"""

from __future__ import annotations

from statewise.sequences.datasets.embedded import embedded
from statewise.sequences.sequences import Sequences


def load() -> Sequences:
    """309 years."""
    return embedded("sunspots", season=11)
