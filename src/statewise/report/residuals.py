"""Residual checks: what the winner's one-step predictions leave over, in numbers and in sentences.

If a model is right, its standardised residuals are independent standard normal numbers. Three questions follow: is
their size right, is any dependence left, is their shape normal?
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from statewise.report.numbers import count, fixed, p_value
from statewise.results.residual_tests import autocorrelation, jarque_bera, ljung_box, standardised_moments

ENOUGH = 8
NEGLIGIBLE = 0.05
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class ResidualChecks:
    """The checks of one column, all sequences pooled.

    Attributes:
        column: its name.
        n: residuals that are numbers.
        mean, sd: of the residuals; 0 and 1 if the model is right.
        outside: share outside ±1.96; 0.05 if the model is right.
        largest: the residual of the largest absolute value.
        autocorrelation: (lags,) at lags 1, 2, …, see `autocorrelation`.
        bound: 1.96/√n, which 95 % of the autocorrelations of white noise stay within.
        portmanteau, portmanteau_lags, portmanteau_p: Ljung–Box statistic, its lags and its p value.
        skewness, excess_kurtosis: third and fourth standardised moments; 0 and 0 for the normal law.
        normality_p: p value of the Jarque–Bera test.
        quantiles: (n,) sorted residuals; theoretical: (n,) the standard normal quantiles at (i − 0.5)/n.
    """

    column: str
    n: int
    mean: float
    sd: float
    outside: float
    largest: float
    autocorrelation: np.ndarray
    bound: float
    portmanteau: float
    portmanteau_lags: int
    portmanteau_p: float
    skewness: float
    excess_kurtosis: float
    normality_p: float
    quantiles: np.ndarray
    theoretical: np.ndarray

    @property
    def sentences(self) -> dict[str, str]:
        """What is seen in each picture: keys 'size', 'dependence', 'shape'."""
        return {"size": _size(self), "dependence": _dependence(self), "shape": _shape(self)}


def check_residuals(column: str, residuals: np.ndarray, lengths: np.ndarray, season: int = 1) -> ResidualChecks | None:
    """The checks of one column's packed residuals (rows,), or None where fewer than 8 are numbers or all are equal.

    The Ljung–Box test takes 10 lags, or two seasons where there is one, but at most n/5. Source: Hyndman &
    Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed. (2021), §5.4.
    """
    known = residuals[np.isfinite(residuals)]
    if known.size < ENOUGH or np.ptp(known) == 0:
        return None
    tested = max(1, min(10 if season <= 1 else 2 * season, known.size // 5, int(lengths.max()) - 1))
    shown = max(tested, min(int(lengths.max()) - 1, max(24, 2 * season), known.size // 2))
    acf, pairs = autocorrelation(residuals, lengths, shown)
    statistic, p = ljung_box(acf[:tested], pairs[:tested], known.size)
    skewness, excess = standardised_moments(known)
    return ResidualChecks(
        column=column,
        n=known.size,
        mean=float(known.mean()),
        sd=float(known.std(ddof=1)),
        outside=float(np.mean(np.abs(known) > NORMAL_95)),
        largest=float(known[np.abs(known).argmax()]),
        autocorrelation=acf,
        bound=NORMAL_95 / math.sqrt(known.size),
        portmanteau=statistic,
        portmanteau_lags=tested,
        portmanteau_p=p,
        skewness=skewness,
        excess_kurtosis=excess,
        normality_p=jarque_bera(skewness, excess, known.size)[1],
        quantiles=np.sort(known),
        theoretical=ndtri((np.arange(1, known.size + 1) - 0.5) / known.size),
    )


def _size(checks: ResidualChecks) -> str:
    error = NORMAL_95 / math.sqrt(checks.n)
    centre = "centred" if abs(checks.mean) <= max(error * checks.sd, NEGLIGIBLE) else "not centred on 0"
    allowance = max(error / math.sqrt(2), NEGLIGIBLE)
    if checks.sd > 1 + allowance:
        spread = "and wider than the model claims, so its intervals are too narrow"
    elif checks.sd < 1 - allowance:
        spread = "and narrower than the model claims, so its intervals are too wide"
    else:
        spread = "with the spread that the model claims"
    return (
        f"The {count(checks.n, 'standardised residual')} are {centre} (mean {fixed(checks.mean, 2)}) {spread} "
        f"(standard deviation {fixed(checks.sd, 2)}, 1 if the model is right); {fixed(100 * checks.outside, 1)} % lie "
        f"outside ±1.96, where 5 % are expected. The largest is {fixed(checks.largest, 1)}."
    )


def _dependence(checks: ResidualChecks) -> str:
    size = np.abs(checks.autocorrelation)
    lag = int(size.argmax()) + 1
    outside = int(np.count_nonzero(size > checks.bound))
    expected = 0.05 * len(size)
    found = (
        "The model leaves dependence that it could have used"
        if checks.portmanteau_p < 0.05
        else "No dependence over time is detected"
    )
    return (
        f"{found}: Ljung–Box over {count(checks.portmanteau_lags, 'lag')} gives Q = {fixed(checks.portmanteau, 1)}, "
        f"{p_value(checks.portmanteau_p)}. {outside} of {count(len(size), 'autocorrelation')} "
        f"{'lies' if outside == 1 else 'lie'} outside ±1.96/√n = ±{fixed(checks.bound, 3)}, where about {expected:.2g} "
        f"are expected by chance; the largest is {fixed(checks.autocorrelation[lag - 1], 2)} at lag {lag}."
    )


def _shape(checks: ResidualChecks) -> str:
    if checks.normality_p >= 0.05:
        found = "No departure from the normal law is detected"
    elif max(abs(checks.skewness), abs(checks.excess_kurtosis)) < 4 * NEGLIGIBLE:
        found = "The departure from the normal law is too small to matter"
    elif checks.skewness**2 > checks.excess_kurtosis**2 / 4:  # the two terms of the Jarque–Bera statistic
        side = "right" if checks.skewness > 0 else "left"
        found = f"The residuals are skewed to the {side}, so symmetric intervals fit one side better than the other"
    elif checks.excess_kurtosis > 0:
        found = "The tails are heavier than the normal law's, so surprises are larger than the intervals suggest"
    else:
        found = "The tails are lighter than the normal law's"
    return (
        f"{found}: skewness {fixed(checks.skewness, 2)}, excess kurtosis {fixed(checks.excess_kurtosis, 2)}, "
        f"Jarque–Bera {p_value(checks.normality_p)}."
    )
