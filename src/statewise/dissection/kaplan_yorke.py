"""The Kaplan–Yorke dimension: in how many directions a trajectory's neighbourhood lives on."""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, refused
from statewise.dissection.lyapunov import lyapunov
from statewise.dissection.panels import Line, Panel, Rule
from statewise.dissection.spectrum import block_means, spectra
from statewise.dissection.subject import Subject

SOURCE = "Kaplan & Yorke 1979; Frederickson, Kaplan, Yorke & Yorke 1983"


def kaplan_yorke(
    subject: Subject, *, exponents: int = 8, warmup: int | None = None, tolerance: float = 0.02, seed: int | None = 0
) -> Diagnostic:
    """D = j + (λ_1 + … + λ_j) / |λ_{j+1}|, with j the most exponents whose sum is not negative.

    0 where λ_1 < 0: differences die out in every direction. n where the sum of all n exponents is not negative.

    Args:
        exponents, warmup, tolerance, seed: as in `lyapunov`, whose result this uses.

    Returns:
        value: refused where only the leading exponents are known and no partial sum of them is negative. interval: ± 2 standard errors, by
        leaving out one block of steps at a time. Data: `exponents`, `sums`.
    """
    k = checks.Integer(1).check("exponents", exponents)
    found = lyapunov(subject, exponents=k, warmup=warmup, tolerance=tolerance, seed=seed)
    complete = bool(found.data["complete"])
    value = dimension(found.value, complete)
    if value is None:
        return refused(
            "kaplan_yorke",
            f"the sum of the leading {len(found.value)} exponents is not negative yet; pass exponents={4 * k}",
            SOURCE,
        )
    error = _jackknife(subject, k, warmup, seed, complete)
    sums = np.cumsum(found.value)
    index = np.arange(1, len(sums) + 1)
    return Diagnostic(
        "kaplan_yorke",
        value,
        (max(value - 2 * error, 0.0), value + 2 * error),
        found.status,
        found.reason,
        _meaning(value, error),
        SOURCE,
        {"exponents": found.value, "sums": sums, "standard_error": error},
        (
            Panel(
                "Sums of exponents",
                "index",
                "λ_1 + … + λ_i, nats per unit of time",
                (Line(index, np.where(np.isfinite(sums), sums, np.nan), "sum"), Rule(0.0, "y")),
            ),
        ),
    )


def dimension(exponents: np.ndarray, complete: bool) -> float | None:
    """D of descending exponents; None where they are not all and their sums stay at or above zero."""
    sums = np.cumsum(exponents)
    below = np.flatnonzero(sums < 0)
    if not below.size:
        return float(len(exponents)) if complete else None
    j = int(below[0])
    if j == 0:
        return 0.0
    return j + float(sums[j - 1] / -exponents[j])  # an exponent of −inf leaves j


def _jackknife(subject: Subject, k: int, warmup: int | None, seed: int | None, complete: bool) -> float:
    """The standard error of D from blocks of steps, each left out once."""
    layers = [block_means(each) for each in spectra(subject, k, warmup, seed).values()]
    count = min(len(blocks) for blocks in layers)
    if count < 2:
        return float("nan")
    blocks = np.concatenate([each[:count] for each in layers], axis=1)
    without = np.array([np.delete(blocks, i, axis=0).mean(axis=0) for i in range(count)])
    values = np.array([dimension(-np.sort(-each), complete) for each in without], dtype=float)
    values = values[np.isfinite(values)]
    return float(np.sqrt((len(values) - 1) * np.var(values))) if values.size else float("nan")


def _meaning(value: float, error: float) -> str:
    if value == 0:
        return "Kaplan–Yorke dimension 0: differences in the state die out in every direction."
    return (
        f"Kaplan–Yorke dimension {value:.4g} ± {2 * error:.2g}: in so many directions differences in the state live on."
    )
