"""How much the state of one step can still change a later one: norms of products of Jacobians and what bounds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.gated import GatedSystem
from statewise.dissection.panels import Band, Line, Panel
from statewise.dissection.products import iterated_log_norm, log_norm, peak_growth, products, step_norms
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

SOURCE = "Pascanu, Mikolov & Bengio 2013; Trefethen & Embree 2005 (non-normal growth)"
_DENSE = 64  # numbers in the state up to which the product itself is carried along
_LAGS = 16
_SAMPLES = 8  # single Jacobians looked at


def jacobian_products(subject: Subject, *, sequences: int = 4, seed: int | None = 0) -> Diagnostic:
    """ln ‖J[k] J[k−1] … J[1]‖₂ for k = 1 … T: the most that a difference in the first state can grow to by step k.

    ::

        ρ(∏J), ∏|det J|^{1/n}  ≤  ‖∏J‖₂  ≤  ∏‖J‖₂  ≤  ∏√(‖J‖₁ ‖J‖_∞)

    Only logarithms are kept, so that no length overflows. Of a state of more than 64 numbers the norms are found by power iteration at
    16 lags, and the rest interpolated.

    Args:
        sequences: so many are looked at, the longest ones; for the bounds of a state of more than 64 numbers only one.
        seed: of the power iteration's first tangents.

    Returns:
        value: (T,) the mean over the sequences, natural logs, of the first site. interval: the smallest and largest of the sequences. Data:
        `lag`, `radius` (ln ρ; none above 64 numbers), `norms`, `mixed`, `det` (logs of the bounds), `step_norms` (ln ‖J[t]‖₂),
        `non_normality` (‖J‖₂ / ρ(J) of single steps), `peak_growth` (max over k of ‖J^k‖ of single steps, with `peak_at`), and for a
        simple network `weight_norm` with `vanishes` (σ_max(W) < 1/γ, γ the largest slope: enough to vanish).
    """
    count = checks.Integer(1).check("sequences", sequences)
    system = _longest(subject.sites[0].system.at(np.float64), count)
    lags = np.arange(1, system.steps + 1)
    logs, radius = _dense(system) if system.size <= _DENSE else (_iterated(system, seed), None)
    logs[~system.mask] = np.nan
    value, low, high = _over_sequences(logs)
    bounds = _bounds(system if system.size <= _DENSE else _longest(system, 1))
    data: dict[str, Any] = {"lag": lags, "radius": None if radius is None else _over_sequences(radius)[0]}
    data |= {name: _over_sequences(np.cumsum(each, axis=1))[0] for name, each in bounds.items()}
    data["step_norms"] = bounds["norms"]
    data |= _single_steps(system) | _weights(system)
    return Diagnostic(
        "jacobian_products",
        value,
        (low, high),
        Status.CONVERGED,
        "",
        _meaning(value, data),
        SOURCE,
        data,
        (_panel(value, low, high, data),),
    )


def _longest(system: System, count: int) -> System:
    """The same system for its longest sequences only."""
    return system if system.batch <= count else system.rows(np.argsort(-system.lengths, kind="stable")[:count])


def _dense(system: System) -> tuple[np.ndarray, np.ndarray]:
    """(B, T) ln ‖J[t] … J[0]‖₂ and ln ρ of the same."""
    norms, radii = (np.empty((system.batch, system.steps)) for _ in range(2))
    for t, matrices, log in products(system):
        norms[:, t] = log + log_norm(matrices)
        with np.errstate(divide="ignore"):
            radii[:, t] = log + np.log(np.abs(np.linalg.eigvals(matrices)).max(axis=1))
    return norms, radii


def _iterated(system: System, seed: int | None) -> np.ndarray:
    """(B, T) ln ‖J[t] … J[0]‖₂ from a few lags, straight lines between them."""
    ends = np.unique(np.geomspace(1, system.steps, _LAGS).astype(int)) - 1
    found = np.stack([iterated_log_norm(system, int(end), seed=seed) for end in ends], axis=1)
    floor = np.where(np.isneginf(found), -1e300, found)
    return np.stack([np.interp(np.arange(system.steps), ends, row) for row in floor])


def _over_sequences(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) mean, lowest and highest of the sequences that are still going."""
    there = ~np.isnan(logs)
    total = np.where(there, logs, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return total, np.where(there, logs, np.inf).min(axis=0), np.where(there, logs, -np.inf).max(axis=0)


def _bounds(system: System) -> dict[str, np.ndarray]:
    """(B, T) logs of the single steps: ‖J‖₂, √(‖J‖₁‖J‖_∞) and |det J|^{1/n}; NaN beyond the sequences."""
    found = {name: np.full((system.batch, system.steps), np.nan) for name in ("norms", "mixed", "det")}
    for t in range(system.steps):
        each = step_norms(system.jacobian(t))
        for name, key in (("norms", "norm"), ("mixed", "mixed"), ("det", "det")):
            found[name][:, t] = np.where(system.mask[:, t], each[key], np.nan)
    return found


def _single_steps(system: System) -> dict[str, np.ndarray]:
    """Non-normality and peak growth of a few Jacobians along the first sequence."""
    steps = np.unique(np.linspace(0, system.lengths[0] - 1, _SAMPLES).astype(int))
    ratio, peaks, places = [], [], []
    for t in steps:
        J = system.jacobian(int(t))[0]
        radius = float(np.abs(np.linalg.eigvals(J)).max())
        ratio.append(np.linalg.norm(J, 2) / radius if radius > 0 else np.inf)
        peak, at = peak_growth(J) if system.size <= _DENSE else (np.nan, 0)
        peaks.append(peak)
        places.append(at)
    return {
        "sampled_steps": steps,
        "non_normality": np.array(ratio),
        "peak_growth": np.array(peaks),
        "peak_at": np.array(places),
    }


def _weights(system: System) -> dict[str, Any]:
    """Pascanu's test, for networks that are one squashed matrix; γ is 1 for tanh and relu."""
    if not isinstance(system, GatedSystem) or set(system.cell.activations.values()) - {"tanh", "relu", "identity"}:
        return {}
    size = float(np.linalg.norm(system.weight, 2))
    return {"weight_norm": size, "vanishes": size < 1.0}


def _finite(logs: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(logs), logs, np.nan)


def _meaning(value: np.ndarray, data: dict[str, Any]) -> str:
    steps, end = len(value), value[-1]
    bound = data["norms"][-1]
    decades = f"10^{end / np.log(10):.1f}" if np.isfinite(end) else "nothing"
    of_norms = f"product of norms: 10^{bound / np.log(10):.1f}"
    said = f"Over {steps} steps a difference in the state becomes at most {decades} times as large ({of_norms})"
    if data.get("vanishes"):
        return f"{said}; the recurrent weights' norm {data['weight_norm']:.3g} is below 1, which is enough for gradients to vanish."
    return f"{said}."


def _panel(value: np.ndarray, low: np.ndarray, high: np.ndarray, data: dict[str, Any]) -> Panel:
    lags = data["lag"]
    bounds = {"norms": "∏‖J‖₂", "mixed": "∏√(‖J‖₁‖J‖∞)", "det": "∏|det J|^(1/n)", "radius": "ρ(∏J)"}
    lines = [Line(lags, _finite(data[key]), name, dashed=True) for key, name in bounds.items() if data[key] is not None]
    band = Band(lags, _finite(low), _finite(high), "range of the sequences")
    middle = Line(lags, _finite(value), "‖∏J‖₂")
    return Panel("Products of Jacobians and their bounds", "steps k", "ln of the norm", (band, middle, *lines))
