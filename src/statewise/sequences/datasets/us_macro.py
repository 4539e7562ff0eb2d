"""United States macroeconomic series, quarterly, 1959Q1–2009Q3.

Source: Federal Reserve Economic Data (FRED) of the Federal Reserve Bank of St. Louis, and the Bureau of Labor
Statistics (unemployment), both as of 2009-12-15, as in statsmodels.datasets.macrodata.

Licence: public domain, as stated in statsmodels.

Units: realgdp to realdpi in 10^9 chained 2005 US dollars a year, seasonally adjusted; cpi 100 in 1982–84; m1 in 10^9 US
dollars; tbilrate, unemp, infl and realint in per cent; pop in millions.

Columns: realgdp gross domestic product, realcons personal consumption, realinv gross private investment, realgovt
federal consumption and investment, realdpi disposable income, cpi consumer prices (end of quarter), m1 money stock (end
of quarter), tbilrate three-month treasury bill, unemp unemployment, pop population (end of quarter), infl inflation 400
ln(cpi[t] / cpi[t−1]), realint real interest rate tbilrate − infl. Times are the first days of the quarters.
"""

from __future__ import annotations

from statewise.sequences.datasets.embedded import embedded
from statewise.sequences.sequences import Sequences


def load() -> Sequences:
    """203 quarters of 12 columns."""
    return embedded("us_macro")
