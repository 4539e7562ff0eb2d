"""International airline passengers, monthly, 1949–1960.

Source: Box and Jenkins, Time Series Analysis: Forecasting and Control, revised edition, Holden-Day 1976, series G,
after Brown, Smoothing, Forecasting and Prediction of Discrete Time Series, 1962; the figures are the same as in aeon
1.6.0 (Airline.csv).

Licence: public domain (144 published facts).

Units: thousands of passengers.

Columns: passengers, the month's total. Times are the first days of the months. The season is 12 steps.
"""

from __future__ import annotations

from statewise.sequences.datasets.embedded import embedded
from statewise.sequences.sequences import Sequences


def load() -> Sequences:
    """144 months."""
    return embedded("airline")
