"""Lyapunov spectra by QR: the mean rates at which small differences in the state grow or fade."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.panels import Line, Panel, Points, Rule
from statewise.dissection.spectrum import (
    Spectrum,
    by_sequence,
    drift,
    history,
    mean_log_det,
    means,
    spectra,
    standard_errors,
    two_trajectories,
)
from statewise.dissection.subject import Subject

SOURCE = "Benettin et al. 1980; Engelken, Wolf & Abbott 2020 (arXiv 2006.02427); Vogt et al. 2022"


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
        (B, k): finite-time exponents of each sequence of the first layer, `two_trajectories` (the first exponent without Jacobians: from
        a second trajectory kept close to the first), `complete` (whether all n are there), and for a complete spectrum `log_det`, the mean
        ln |det J| that must equal its sum.
    """
    k = checks.Integer(1).check("exponents", exponents)
    tolerance = checks.Real(0.0, open_low=True).check("tolerance", tolerance)
    known = subject.details.get("spectrum")  # of a model with a recursion of which more is known
    found = spectra(subject, k, warmup, seed) if known is None else {subject.layers[0][0]: known(k, seed)}
    value, error, moved = (each / subject.dt for each in _union(list(found.values())))
    complete = known is None and all(k >= system.size for _, system in subject.layers)
    value, error, moved = (each if complete else each[:k] for each in (value, error, moved))
    reason = _doubt(value, error, moved, tolerance)
    first = next(iter(found.values()))
    two = max(two_trajectories(site.system, first.warmup, seed) for site in subject.sites) if known is None else np.nan
    running = history(first) / subject.dt
    data: dict[str, Any] = {
        "standard_error": error,
        "layers": {name: means(each) / subject.dt for name, each in found.items()},
        "history": running,
        "by_sequence": by_sequence(first) / subject.dt,
        "two_trajectories": two / subject.dt,
        "complete": complete,
        "warmup": first.warmup,
    }
    if complete:
        data["log_det"] = sum(mean_log_det(system, found[name].warmup) for name, system in subject.layers) / subject.dt
    return Diagnostic(
        "lyapunov",
        value,
        (value - 2 * error, value + 2 * error),
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        subject.details.get("spectrum meaning", partial(_meaning, subject=subject))(value, error),
        SOURCE,
        data,
        _panels(value, error, running, first.warmup),
    )


def _union(found: list[Spectrum]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The exponents of all layers, descending, with their standard errors and how far they moved over the second half of the steps."""
    value, error, moved = (np.concatenate([f(each) for each in found]) for f in (means, standard_errors, drift))
    order = np.argsort(-value, kind="stable")
    return value[order], error[order], moved[order]


def _doubt(value: np.ndarray, error: np.ndarray, moved: np.ndarray, tolerance: float) -> str:
    """Why the spectrum is not converged, or nothing.

    Both halves of the steps must agree to 2 standard errors; of several exponents, to what keeps the chance of a false alarm at that of one.
    """
    finite = np.isfinite(value)
    if np.isnan(error[finite]).any():
        return "there are too few steps for error bars; pass longer sequences or more of them"
    if (error[finite] > tolerance).any():
        return f"the standard error is up to {np.max(error[finite]):.2g}, above the tolerance {tolerance:g}; pass longer sequences"
    allowed = np.maximum(norm.ppf(1 - 0.0455 / (2 * len(value))) * error, 1e-9)
    moving = finite & (moved > allowed)
    if moving.any():
        i = int(np.argmax(np.where(moving, moved / allowed, 0)))
        return f"exponent {i + 1} moved by {moved[i]:.2g} between half and all of the steps, more than its error allows; pass longer sequences"
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
