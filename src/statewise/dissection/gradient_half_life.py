"""How many steps it takes to lose half of the gradient."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from statewise._core import checks
from statewise._core.seed import generator
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.gradient_flow import NO_GRADIENT, SOURCE, relative_logs, remembered_flow
from statewise.dissection.panels import Line, Panel, Rule
from statewise.dissection.subject import Subject

_FLOOR = 1e-3  # of the curve: what is below it teaches nothing
_BLOCKS = 20
_DRAWS = 500


def gradient_half_life(
    subject: Subject, *, lags: tuple[int, int] | None = None, window: int = 256, seed: int | None = 0
) -> Diagnostic:
    """ln 2 / −slope of ln I(k), the gradient by lag of `gradient_flow`, in units of time.

    Args:
        lags: (first, last) lag of the fitted line; default from 0 to where the curve is down to a thousandth, or to half of the window.
        window: steps that are looked at.
        seed: of the bootstrap.

    Returns:
        value: infinite where the gradient does not decay. interval: 95 %, by resampling sequences, or blocks of steps where there are fewer
        than eight. Data: `slope` in nats a step, `lag`, `curve`, `first_lag`, `last_lag`.
    """
    name = "gradient_half_life"
    sites = [site for site in subject.sites if site.cotangents is not None]
    if not sites:
        return refused(name, "there is no loss to follow back", SOURCE)
    G = remembered_flow(subject, sites[0], window, np.float32)
    units = _units(G)
    sums, counts = _by_unit(units)
    total = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    if not counts.any():
        return refused(name, NO_GRADIENT, SOURCE)
    first, last = _fitted_lags(total, counts.sum(axis=0), lags)
    if last - first < 1:
        return refused(name, "the sequences are too short for a slope; pass longer ones", SOURCE)
    slope = _slope(total, first, last)
    spread = _bootstrap(sums, counts, first, last, seed)
    half, interval = (
        _half_life(slope) * subject.dt,
        tuple(_half_life(np.quantile(spread, q)) * subject.dt for q in (0.025, 0.975)),
    )
    k = np.arange(len(total))
    fit = np.exp(total[first : last + 1].mean() + slope * (k - 0.5 * (first + last)))
    wide = not np.isfinite(interval[1]) and np.isfinite(half)
    few = len(sums) < 8
    reason = (
        "its interval reaches infinity; pass more or longer sequences"
        if wide
        else "there are too few steps for an interval; pass more or longer sequences"
        if few
        else ""
    )
    return Diagnostic(
        name,
        half,
        None if few else (float(interval[0]), float(interval[1])),
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(half, None if few else interval, slope, subject.dt),
        SOURCE,
        {"slope": slope, "lag": k, "curve": np.exp(total), "first_lag": first, "last_lag": last},
        (
            Panel(
                "Gradient by lag and the fitted decay",
                "lag, steps",
                "relative to lag 0",
                (
                    Line(k, np.exp(total), "geometric mean"),
                    Line(k, fit, "fit", dashed=True),
                    Rule(last, "x", "last lag fitted"),
                ),
                y_log=True,
            ),
        ),
    )


def _units(G: np.ndarray) -> list[np.ndarray]:
    """What is resampled: sequences, or blocks of steps t where there are few sequences; each (·, W, W)."""
    if len(G) >= 8 or np.isfinite(np.diagonal(G, axis1=1, axis2=2)).sum() < 2 * _BLOCKS:
        return [g[None] for g in G]
    edges = np.linspace(0, G.shape[1], _BLOCKS // len(G) + 2).astype(int)
    found = []
    for low, high in pairwise(edges):
        block = np.full_like(G, np.nan)
        block[:, low:high] = G[:, low:high]
        diagonal = np.arange(G.shape[1])
        block[:, diagonal, diagonal] = np.diagonal(G, axis1=1, axis2=2)
        found += [one[None] for one in block]
    return found


def _by_unit(units: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(units, W) sums and counts of the logs by lag."""
    logs = [relative_logs(unit) for unit in units]
    sums = np.array([[each.sum() for each in unit] for unit in logs])
    return sums, np.array([[each.size for each in unit] for unit in logs])


def _fitted_lags(curve: np.ndarray, counts: np.ndarray, lags: tuple[int, int] | None) -> tuple[int, int]:
    last_known = int(np.flatnonzero(counts)[-1]) if counts.any() else 0
    if lags is not None:
        first, last = (checks.Integer(0).check("lags", lag) for lag in lags)
        return first, min(last, last_known)
    down = np.flatnonzero(curve < np.log(_FLOOR))
    longest = max(2, len(curve) // 2) if counts[0] > len(curve) // 2 else last_known
    return 0, min(int(down[0]) if down.size else longest, longest, last_known)


def _slope(curve: np.ndarray, first: int, last: int) -> float:
    k = np.arange(first, last + 1) - 0.5 * (first + last)
    return float(k @ curve[first : last + 1] / (k @ k))


def _bootstrap(sums: np.ndarray, counts: np.ndarray, first: int, last: int, seed: int | None) -> np.ndarray:
    """Slopes of curves from resampled units."""
    weights = generator(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_DRAWS)
    numbers = weights @ counts
    curves = (weights @ sums) / np.maximum(numbers, 1)
    k = np.arange(first, last + 1) - 0.5 * (first + last)
    usable = (numbers[:, first : last + 1] > 0).all(axis=1)
    return (curves[usable, first : last + 1] @ k) / (k @ k) if usable.any() else np.array([np.nan])


def _half_life(slope: float) -> float:
    return float(np.log(2) / -slope) if slope < 0 else np.inf


def _meaning(half: float, interval: tuple[float, ...] | None, slope: float, dt: float) -> str:
    if np.isinf(half):
        growth = (
            "it stays as large" if abs(slope) < 1e-6 else f"it doubles every {np.log(2) / slope * dt:.3g} steps back"
        )
        return f"The gradient does not decay with the lag: {growth}."
    ends = "" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]"
    return f"Gradient half-life {half:.3g} {'steps' if dt == 1 else 'units of time'}{ends}."
