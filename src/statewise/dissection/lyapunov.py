"""Lyapunov spectra by QR: the mean rates at which small differences in the state grow or fade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise._core import checks
from statewise._core.seed import generator
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.panels import Line, Panel, Points, Rule
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

SOURCE = "Benettin et al. 1980; Engelken, Wolf & Abbott 2020 (arXiv 2006.02427); Vogt et al. 2022"
_WORST_CONDITION = 1e6  # of the block of tangents between two QRs
_MOST_STEPS = 32
_BLOCKS = 20


@dataclass(frozen=True)
class Spectrum:
    """The leading exponents of one system, in nats a step.

    Attributes:
        increments: (B, T', k) ln |R_ii| of the steps counted, spread evenly over the steps between two QRs; NaN beyond a sequence's end.
        warmup: steps that the tangents took before counting.
    """

    increments: np.ndarray
    warmup: int


def lyapunov(
    subject: Subject, *, exponents: int = 8, warmup: int | None = None, tolerance: float = 0.02, seed: int | None = 0
) -> Diagnostic:
    """The leading Lyapunov exponents, λ_i = lim (1/T) Σ ln |R_ii|, from Q ← J[t] Q with a QR every few steps, in nats per unit of time.

    A QR comes as often as the condition of the block asks for, so that no exponent drowns in rounding. The spectrum of a stack is
    the union of its layers', and that of a network with two directions the union of both.

    Args:
        exponents: k, of every layer; n or more for all.
        warmup: steps for the tangents to turn before counting; default a tenth of the sequences, 100 at most.
        tolerance: of the standard error, below which a spectrum counts as converged.
        seed: of the first tangents.

    Returns:
        value: descending; −inf for directions that a singular Jacobian removes. interval: ± 2 standard errors, from the means of at least
        20 blocks of steps. Data: `standard_error`, `history` (running means of the first layer), `layers` (spectra by name), `by_sequence`
        (B, k): finite-time exponents of each sequence, `complete` (whether all n are there), and for a complete spectrum `log_det`, the
        mean ln |det J| that must equal its sum.
    """
    k = checks.Integer(1).check("exponents", exponents)
    tolerance = checks.Real(0.0, open_low=True).check("tolerance", tolerance)
    layers = subject.layers
    found = {name: spectrum(system, k, warmup, seed) for name, system in layers}
    means = {name: _means(each) for name, each in found.items()}
    errors = {name: _standard_errors(each) for name, each in found.items()}
    every, error = np.concatenate(list(means.values())), np.concatenate(list(errors.values()))
    order = np.argsort(-every, kind="stable")
    complete = all(k >= system.size for _, system in layers)
    keep = order if complete else order[:k]
    value, error = every[keep] / subject.dt, error[keep] / subject.dt
    drift = np.concatenate([np.abs(means[name] - _means(_first_half(each))) for name, each in found.items()])[keep]
    reason = _doubt(value, error, drift / subject.dt, tolerance)
    first = next(iter(found.values()))
    data = {
        "standard_error": error,
        "layers": {name: each / subject.dt for name, each in means.items()},
        "history": _history(first) / subject.dt,
        "by_sequence": np.nanmean(first.increments, axis=1) / subject.dt,
        "complete": complete,
        "warmup": first.warmup,
    }
    if complete:
        data["log_det"] = sum(_mean_log_det(system, found[name].warmup) for name, system in layers) / subject.dt
    return Diagnostic(
        "lyapunov",
        value,
        (value - 2 * error, value + 2 * error),
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(value, error, subject),
        SOURCE,
        data,
        _panels(value, error, data["history"], first.warmup),
    )


def spectrum(system: System, exponents: int, warmup: int | None = None, seed: int | None = 0) -> Spectrum:
    """Leading exponents of one system along its trajectories, step by step."""
    system = system.at(np.float64)
    k = min(exponents, system.size)
    turning = min(system.steps // 10, 100) if warmup is None else checks.Integer(0).check("warmup", warmup)
    turning = min(turning, int(system.lengths.min()) - 1)
    draw = generator(seed).standard_normal((system.batch, system.size, k))
    Q = np.linalg.qr(draw)[0]
    increments = np.full((system.batch, system.steps - turning, k), np.nan)
    t, stride = 0, 4
    while t < system.steps:
        ahead = min(stride, system.steps - t, turning - t if t < turning else system.steps)
        moved = Q
        for each in range(t, t + ahead):
            moved = system.push(each, moved)
        new, R = np.linalg.qr(moved)
        growth = np.abs(np.diagonal(R, axis1=1, axis2=2))
        worst = _condition(growth)
        if worst > _WORST_CONDITION and ahead > 1:
            stride = max(1, ahead // 2)
            continue
        if t >= turning:
            increments[:, t - turning : t - turning + ahead] = (_logs(growth, system.size) / ahead)[:, None]
        Q, t = new, t + ahead
        if worst < _WORST_CONDITION**0.4 and ahead == stride:
            stride = min(2 * stride, _MOST_STEPS)
    increments[~system.mask[:, turning:]] = np.nan
    return Spectrum(increments, turning)


def _condition(growth: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.max(growth.max(axis=1) / growth.min(axis=1))
    return float(worst) if np.isfinite(worst) else np.inf


def _logs(growth: np.ndarray, size: int) -> np.ndarray:
    """ln |R_ii|; −inf where the direction is lost in the rounding of the largest."""
    floor = 8 * size * np.finfo(np.float64).eps * growth.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.where(growth > floor, np.log(growth), -np.inf)


def _means(found: Spectrum) -> np.ndarray:
    """(k,) over all steps of all sequences."""
    return np.asarray(np.nanmean(found.increments.reshape(-1, found.increments.shape[2]), axis=0))


def _first_half(found: Spectrum) -> Spectrum:
    return Spectrum(found.increments[:, : max(1, found.increments.shape[1] // 2)], found.warmup)


def _standard_errors(found: Spectrum) -> np.ndarray:
    """(k,) sd / √blocks of the means of at least 20 blocks, from the single sequences or pieces of them; NaN where there are too few steps."""
    batch, steps, k = found.increments.shape
    pieces = -(-_BLOCKS // batch)
    if steps < pieces:
        return np.full(k, np.nan)
    blocks = [
        np.nanmean(part, axis=1) for part in np.array_split(found.increments, pieces, axis=1) if np.isfinite(part).any()
    ]
    means = np.concatenate(blocks)
    means = means[~np.isnan(means).any(axis=1)]
    with np.errstate(invalid="ignore"):
        error = np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    return np.where(np.isneginf(means).any(axis=0), 0.0, error)


def _history(found: Spectrum) -> np.ndarray:
    """(T', k) running means, over the sequences that are still going."""
    each = np.nan_to_num(np.nanmean(found.increments, axis=0), neginf=-np.inf)
    return np.cumsum(each, axis=0) / np.arange(1, len(each) + 1)[:, None]


def _mean_log_det(system: System, warmup: int) -> float:
    """The mean of ln |det J[t]| over the steps counted."""
    total, count = 0.0, 0
    for t in range(warmup, system.steps):
        logs = np.linalg.slogdet(system.jacobian(t))[1][system.mask[:, t]]
        total, count = total + float(logs.sum()), count + logs.size
    return total / count


def _doubt(value: np.ndarray, error: np.ndarray, drift: np.ndarray, tolerance: float) -> str:
    """Why the spectrum is not converged, or nothing."""
    finite = np.isfinite(value)
    if np.isnan(error[finite]).any():
        return "there are too few steps for error bars; pass longer sequences or more of them"
    if (error[finite] > tolerance).any():
        return f"the standard error is up to {np.max(error[finite]):.2g}, above the tolerance {tolerance:g}; pass longer sequences"
    moving = finite & (drift > np.maximum(2 * error, 1e-9))
    if moving.any():
        i = int(np.argmax(np.where(moving, drift, 0)))
        return f"exponent {i + 1} moved by {drift[i]:.2g} between half and all of the steps, more than 2 standard errors; pass longer sequences"
    return ""


def _meaning(value: np.ndarray, error: np.ndarray, subject: Subject) -> str:
    top, se = value[0], error[0]
    said = f"λ₁ = {top:.3g}" + (f" ± {2 * se:.2g}" if se > 0 else "")
    span = (
        ""
        if len(subject.lengths) == 1
        else f", the mean over {len(subject.lengths)} sequences that start anew (finite-time exponents)"
    )
    if top < 0:
        half = np.log(2) / -top
        return f"{said}: a small difference in the state halves every {half:.3g} {'steps' if subject.dt == 1 else 'units of time'}{span}."
    return f"{said}: small differences in the state {'grow: the dynamics is chaotic or unstable' if top > 2 * se else 'last'}{span}."


def _panels(value: np.ndarray, error: np.ndarray, history: np.ndarray, warmup: int) -> tuple[Panel, ...]:
    index, steps = np.arange(1, len(value) + 1), warmup + 1 + np.arange(len(history))
    finite = np.isfinite(value)
    lines = tuple(Line(steps, history[:, i], f"λ{i + 1}") for i in range(min(4, history.shape[1])))
    return (
        Panel(
            "Lyapunov spectrum",
            "index",
            "exponent, nats per unit of time",
            (Points(index[finite], value[finite], "λ ± 2 SE", 2 * error[finite]), Rule(0.0, "y")),
        ),
        Panel("Convergence", "steps", "running mean", lines),
    )
