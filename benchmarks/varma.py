"""Fitting a VARMA against statsmodels."""

from __future__ import annotations

import warnings

import numpy as np

import statewise as sw
from benchmarks.workloads import Pair, Workload


def _growth(columns: int, size: int) -> sw.Sequences:
    levels = sw.datasets.load("us_macro").values[:, :columns]
    growth = np.diff(np.log(levels), axis=0)[:size]
    return sw.Sequences(growth, [len(growth)])


def _pair(columns: int, p: int, maxiter: int, size: int) -> Pair:
    """VARMA(p, 1) on growth as it is; statsmodels gets it in per cent, else it stops far from the maximum."""
    growth = _growth(columns, size)
    jacobian = growth.values.size * np.log(100)

    def ours() -> float:
        return sw.VARMA(p=p, q=1).fit(growth).fit_result.log_prob

    def peer() -> float:
        from statsmodels.tsa.statespace.varmax import VARMAX

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = VARMAX(100 * growth.values, order=(p, 1), trend="c").fit(disp=False, maxiter=maxiter)
        return float(found.llf) + jacobian

    # A higher likelihood is a better answer to the same question, so only a lower one counts against us.
    return Pair(ours, peer, lambda a, b: max(0.0, b - a))


WORKLOADS = [
    Workload(
        name="varma-1-1",
        what="fitting a VARMA(1, 1) to two macro series, 202 quarters",
        peer="statsmodels VARMAX, data in per cent, maxiter=1000",
        unit="nats below the peer's maximum",
        tolerance=1e-3,
        steps=202,
        quick_steps=202,
        build=lambda size: _pair(2, 1, 1000, size),
        packages=("statsmodels",),
    ),
    Workload(
        name="varma-2-1",
        what="fitting a VARMA(2, 1) to three macro series, 202 quarters",
        peer="statsmodels VARMAX, data in per cent, maxiter=200",
        unit="nats below the peer's maximum",
        tolerance=1e-3,
        steps=202,
        quick_steps=202,
        build=lambda size: _pair(3, 2, 200, size),
        packages=("statsmodels",),
        most_rounds=2,
    ),
]
