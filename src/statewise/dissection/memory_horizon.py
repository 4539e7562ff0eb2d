"""How far back the network remembers: four numbers that are often confused, each under a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.seed import generator
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.influence import geometric_mean, influence
from statewise.dissection.memory_capacity import capacity_site, memory_capacity
from statewise.dissection.panels import Line, Panel, Points, Rule
from statewise.dissection.spectrum import spectrum
from statewise.dissection.subject import Subject

SOURCE = "gradient: Bengio, Simard & Frasconi 1994; ablation: Khandelwal et al. 2018; capacity: Jaeger 2001"
_DRAWS = 400
_GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


def memory_horizon(
    subject: Subject, *, lags: int = 256, share: float = 1.0, capacity: bool = True, seed: int | None = 0
) -> Diagnostic:
    """Four horizons, in units of time.

    ::

        gradient horizon       the first k, beyond the largest I(k), with I(k) / max I < 1/e, and < 1 %
                               I(k) = exp mean ln ‖∂s[t]/∂x[t−k]‖_F over steps and sequences
        asymptotic half-life   ln 2 / (−λ₁), infinite if λ₁ ≥ 0
        ablation horizon       the smallest context whose loss is within `share` per cent of that of the whole past
        capacity horizon       the lag from which on MC[k] < .1, of `memory_capacity`

    The ablation horizon alone is in the task's own units. A density of numbers has no natural zero, so that `share` is there of what all
    context gains over none; of other losses it is of the loss itself.

    Args:
        lags: that the gradient is followed over, and the longest context.
        share: per cent.
        capacity: whether to drive the network for its capacity horizon, which takes a few seconds of large ones.
        seed: of what is drawn.

    Returns:
        value: the gradient horizon (1/e). interval: 95 %, by resampling input steps and sequences. Data: `gradient_horizon`,
        `gradient_horizon_1pct`, `half_life`, `ablation_horizon`, `capacity_horizon` (NaN where there is none; `reasons` says why),
        `lag` and `influence` I(k) / max I, `context` and `context_loss` with `context_loss_error` (of the difference from the
        whole past), `full_loss`.
    """
    name = "memory_horizon"
    lags, share = checks.Integer(1).check("lags", lags), checks.Real(0.0, 100.0, open_low=True).check("share", share)
    site = capacity_site(subject)
    if site.system.steps < 2:
        return refused(name, "the sequences are too short; pass longer ones", SOURCE)
    logs = influence(site.system, min(lags, max(1, int(0.75 * site.system.steps))), seed)
    if not len(logs):
        return refused(name, "the inputs do not act on the state at all", SOURCE)
    curve = geometric_mean(logs)
    first, far = _horizon(curve, -1.0), _horizon(curve, np.log(0.01))
    interval = _interval(logs, seed)
    reasons: dict[str, str] = {}
    ablation = _ablation(subject, lags, share, reasons)
    reach = _capacity(subject, seed, reasons) if capacity else np.nan
    dt = subject.dt
    half = half_life(subject)
    data: dict[str, Any] = {
        "gradient_horizon": first * dt,
        "gradient_horizon_1pct": far * dt,
        "half_life": half,
        "ablation_horizon": ablation.horizon * dt,
        "capacity_horizon": reach * dt,
        "lag": np.arange(len(curve)),
        "influence": np.exp(curve),
        "context": ablation.contexts,
        "context_loss": ablation.losses,
        "context_loss_error": ablation.errors,
        "full_loss": ablation.full,
        "share": share,
        "reasons": reasons,
    }
    reason = (
        ""
        if np.isfinite(first)
        else f"inputs still act at {np.exp(curve[-1]):.2g} of their most after {len(curve) - 1} steps; pass longer sequences"
    )
    return Diagnostic(
        name,
        first * dt,
        (interval[0] * dt, interval[1] * dt),
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(data, dt, len(curve) - 1),
        SOURCE,
        data,
        _panels(data),
    )


def half_life(subject: Subject) -> float:
    """ln 2 / (−λ₁) in units of time, λ₁ the largest exponent of all layers; infinite if it is not negative, 0 if it is −∞."""
    tops = []
    for name, system in subject.layers:
        found = subject.remembered(("top exponent", name), partial(spectrum, system, 1))
        tops.append(float(np.nanmean(found.increments)))
    top = max(tops)
    return float(np.log(2) / -top * subject.dt) if top < 0 else np.inf


def _horizon(curve: np.ndarray, level: float) -> float:
    """The first lag beyond the largest at which a log curve is below `level`; infinite if it never is."""
    begin = int(np.nanargmax(curve))
    below = np.flatnonzero(curve[begin:] < level)
    return float(begin + below[0]) if len(below) else np.inf


def _interval(logs: np.ndarray, seed: int | None) -> tuple[float, float]:
    rng = generator(seed)
    picks = rng.integers(len(logs), size=(_DRAWS, len(logs)))
    found = [_horizon(geometric_mean(logs[pick]), -1.0) for pick in picks]
    low, high = np.quantile(found, (0.025, 0.975), method="nearest")
    return float(low), float(high)


# --- ablation ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ablation:
    """Mean losses by length of context, the standard errors of their differences from the full one, and the horizon."""

    contexts: np.ndarray
    losses: np.ndarray
    errors: np.ndarray
    full: float
    horizon: float


def _ablation(subject: Subject, lags: int, share: float, reasons: dict[str, str]) -> Ablation:
    nothing = Ablation(np.zeros(0, int), np.zeros(0), np.zeros(0), np.nan, np.nan)
    context: Callable[[int], np.ndarray | None] | None = subject.details.get("context")
    if context is None:
        reasons["ablation_horizon"] = "there is no loss a step that could be computed from a shorter past"
        return nothing
    whole = context(-1)
    if whole is None or not np.isfinite(whole).all() or len(whole) < 2:
        reasons["ablation_horizon"] = "the loss of the whole past is not finite"
        return nothing
    full = float(whole.mean())
    seen: dict[int, tuple[float, float]] = {}

    def judged(k: int) -> float:
        """The mean difference from the whole past's loss."""
        if k not in seen:
            losses = context(k)
            difference = np.full(2, np.inf) if losses is None else losses - whole
            with np.errstate(invalid="ignore"):
                error = difference.std(ddof=1) / np.sqrt(len(difference))
            seen[k] = float(difference.mean()), float(error)
        return seen[k][0]

    worst = judged(0) if subject.details.get("density") else 0.0
    worst = max(judged(1), 0.0) if not np.isfinite(worst) else worst
    if not np.isfinite(worst):
        worst = next((judged(k) for k in _GRID if np.isfinite(judged(k))), 0.0)
    tolerance = share / 100 * (max(worst, 0.0) if subject.details.get("density") else abs(full))
    horizon = _smallest(judged, tolerance, min(lags, int(subject.lengths.max())), bool(subject.details.get("density")))
    if not np.isfinite(horizon):
        reasons["ablation_horizon"] = f"the loss is not within {share:g} % at any context looked at"
    contexts = np.array(sorted(seen))
    losses, errors = (np.array([seen[k][i] for k in contexts]) for i in range(2))
    return Ablation(contexts, full + losses, errors, full, horizon)


def _smallest(judged: Callable[[int], float], tolerance: float, longest: int, from_zero: bool) -> float:
    """The smallest context from which on the loss is close: two lengths of a growing grid in a row, and then halved down."""
    grid = [*([0] if from_zero else []), *(k for k in _GRID if k < longest), longest]
    before = -1
    for place, k in enumerate(grid):
        ahead = grid[min(place + 1, len(grid) - 1)]
        if judged(k) <= tolerance and judged(ahead) <= tolerance:
            low, high = before, k
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if judged(middle) <= tolerance else (middle, high)
            return float(high)
        before = k
    return np.inf


def _capacity(subject: Subject, seed: int | None, reasons: dict[str, str]) -> float:
    found = subject.remembered(("capacity", seed), lambda: memory_capacity(subject, seed=seed))
    if found.status is Status.REFUSED:
        reasons["capacity_horizon"] = found.reason
        return np.nan
    return float(found.data["horizon"])


# --- words and pictures ----------------------------------------------------------------------------------------------------


def _meaning(data: dict[str, Any], dt: float, looked: int) -> str:
    def said(key: str, beyond: float = np.inf) -> str:
        value = float(data[key])
        return f"{value:.3g}" if np.isfinite(value) else "infinite" if np.isinf(beyond) else f"beyond {beyond * dt:g}"

    unit = "steps" if dt == 1 else "units of time"
    parts = [
        f"The gradient horizon is {said('gradient_horizon', looked)} {unit} (1/e) and {said('gradient_horizon_1pct', looked)} (1 %)",
        f"the asymptotic half-life {said('half_life')}",
    ]
    if not np.isnan(float(data["ablation_horizon"])):
        parts.append(
            f"the loss needs {said('ablation_horizon', looked)} {unit} of context to come within {data['share']:g} %"
        )
    if not np.isnan(float(data["capacity_horizon"])):
        parts.append(f"the capacity horizon is {said('capacity_horizon')}")
    return "; ".join(parts) + "."


def _panels(data: dict[str, Any]) -> tuple[Panel, ...]:
    lag, curve = np.asarray(data["lag"]), np.asarray(data["influence"])
    panels = [
        Panel(
            "Influence of an input by lag",
            "lag, steps",
            "‖∂s[t]/∂x[t−k]‖ relative to its largest",
            (Line(lag, curve, "geometric mean"), Rule(float(np.exp(-1)), "y", "1/e"), Rule(0.01, "y", "1 %")),
            y_log=True,
        )
    ]
    contexts, losses, errors = (np.asarray(data[key]) for key in ("context", "context_loss", "context_loss_error"))
    shown = np.isfinite(losses)
    if shown.any():
        full = float(data["full_loss"])
        layers = (Points(contexts[shown], losses[shown], "± 2 SE", 2 * errors[shown]), Rule(full, "y", "whole past"))
        panels.append(Panel("Loss by length of context", "context, steps", "mean loss", layers))
    return tuple(panels)
