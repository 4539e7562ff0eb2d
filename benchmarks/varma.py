"""Fitting a VARMA against statsmodels."""

from __future__ import annotations

import warnings

import numpy as np

import statewise as sw
from benchmarks.workloads import Pair, Workload


def _macro(size: int) -> Pair:
    """VARMA(1, 1) on GDP and consumption growth, standardised: else statsmodels stops far from the maximum."""
    levels = sw.datasets.load("us_macro").values[:, :2]
    growth = np.diff(np.log(levels), axis=0)[:size]
    scaled, _ = sw.Sequences(growth, [len(growth)]).standardise()

    def ours() -> float:
        return sw.VARMA(p=1, q=1).fit(scaled).fit_result.log_prob

    def peer() -> float:
        from statsmodels.tsa.statespace.varmax import VARMAX

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(VARMAX(scaled.values, order=(1, 1), trend="c").fit(disp=False, maxiter=500).llf)

    # A higher likelihood is a better answer to the same question, so only a lower one counts against us.
    return Pair(ours, peer, lambda a, b: max(0.0, b - a))


WORKLOADS = [
    Workload(
        name="varma-macro",
        what="fitting a VARMA(1, 1) to two macro series, 202 quarters",
        peer="statsmodels VARMAX, standardised data",
        unit="nats below the peer's maximum",
        tolerance=1e-3,
        steps=202,
        quick_steps=202,
        build=_macro,
        packages=("statsmodels",),
    )
]
