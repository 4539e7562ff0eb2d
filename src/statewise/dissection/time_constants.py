"""How long a unit keeps what it holds: its gate as a time constant, in five ways, with the whole system's beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.gate_statistics import TAU_EDGES, GateStatistics, gate_statistics
from statewise.dissection.panels import Heatmap, Histogram, Panel, Rule
from statewise.dissection.spectrum import means, spectra
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

SOURCE = "Tallec & Ollivier 2018; Wolff 2004 (autocorrelation)"
_WINDOW = 5.0  # time constants that a window of autocorrelations takes in (Sokal 1997)
_SHORT = 5.0  # steps


def time_constants(
    subject: Subject, *, exponents: int = 8, warmup: int | None = None, seed: int | None = 0
) -> Diagnostic:
    """τ_j = −dt / ⟨ln f_j⟩, the exact decay of unit j along the carried path c[t] = f[t] c[t−1] + …, where f is its forget or keep gate.

    The loop through the weights adds to what a gate keeps, so that the network can remember far longer than its gates; its own time
    constants, −dt / λ_i from the Lyapunov exponents, always stand beside.

    Args:
        exponents, warmup, seed: of the exponents, as in `lyapunov`.

    Returns:
        value: (units,) of all layers one after the other, in units of time; the system's, for cells without carried gates. interval: from
        ⟨ln f⟩ ± 2 standard errors. Data, by layer: `system`, `geometric` (as the value), `bias` (of the biases alone), `arithmetic`
        (−dt / ln⟨f⟩), `per_step` (⟨−dt / ln f⟩, which outliers rule), `autocorrelation` of the states (that of an AR(1) with the same
        integrated autocorrelation, bias-corrected; NaN where it is longer than half of the sequences), `median`, `share_below_5`.
    """
    k = checks.Integer(1).check("exponents", exponents)
    dt = subject.dt
    layers = dict(subject.layers)
    rates = {name: means(each) for name, each in spectra(subject, k, warmup, seed).items()}
    system = {name: decay_times(each, dt) for name, each in rates.items()}
    data: dict[str, Any] = {
        "system": system,
        "autocorrelation": {name: dt * autocorrelation_time(each) for name, each in layers.items()},
    }
    gated = {name: each for name, each in gate_statistics(subject).items() if each.keeping is not None}
    if not gated:
        value = np.concatenate(list(system.values()))
        if not len(value):
            return refused("time_constants", "nothing is carried", SOURCE)
        return Diagnostic(
            "time_constants", value, None, Status.CONVERGED, "", _system_meaning(system, dt), SOURCE, data
        )
    data |= {name: {} for name in ("geometric", "bias", "arithmetic", "per_step", "median", "share_below_5")}
    ends = []
    for name, each in gated.items():
        ends.append(_of_layer(data, name, each, dt))
    value = np.concatenate(list(data["geometric"].values()))
    interval = np.concatenate([low for low, _ in ends]), np.concatenate([high for _, high in ends])
    few = bool(np.isnan(interval[0]).any())
    return Diagnostic(
        "time_constants",
        value,
        None if few else interval,
        Status.NOT_CONVERGED if few else Status.CONVERGED,
        "there are too few steps for an interval; pass longer sequences" if few else "",
        _meaning(value, system, dt),
        SOURCE,
        data,
        tuple(panel for name, each in gated.items() for panel in _panels(name, each, data, dt)),
    )


def decay_times(rates: np.ndarray, dt: float) -> np.ndarray:
    """−dt / λ; infinite where nothing fades."""
    fades = rates < 0
    return np.where(fades, -dt / np.where(fades, rates, -1.0), np.inf)


def averages(keep: np.ndarray, weights: np.ndarray, dt: float = 1.0) -> dict[str, float]:
    """Time constants of gates f with these weights (summing to 1), one set of gates and three answers: 'geometric' −dt/⟨ln f⟩,
    'arithmetic' −dt/ln⟨f⟩, and 'per_step' ⟨−dt/ln f⟩."""
    log = np.log(keep)
    return {
        "geometric": float(-dt / (weights @ log)),
        "arithmetic": float(-dt / np.log(weights @ keep)),
        "per_step": float(weights @ (-dt / log)),
    }


def _of_layer(data: dict[str, Any], name: str, found: GateStatistics, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Everything about one layer put into `data`; the ends of its intervals."""
    keeping = found.keeping
    assert keeping is not None
    with np.errstate(divide="ignore"):
        data["geometric"][name] = tau = -dt / keeping.log_mean
        data["bias"][name] = -dt / np.log(keeping.at_rest)
        data["arithmetic"][name] = -dt / np.log(keeping.mean)
        data["per_step"][name] = dt * keeping.mean_tau
        data["median"][name] = float(np.median(tau))
        data["share_below_5"][name] = float(np.mean(tau < _SHORT * dt * (1 - 1e-9)))
        if len(keeping.blocks) < 2:
            return np.full_like(tau, np.nan), np.full_like(tau, np.nan)
        error = np.std(keeping.blocks, axis=0, ddof=1) / np.sqrt(len(keeping.blocks))
        high = keeping.log_mean + 2 * error
        return -dt / (keeping.log_mean - 2 * error), np.where(high < 0, -dt / np.minimum(high, -1e-300), np.inf)


def autocorrelation_time(system: System) -> np.ndarray:
    """(m,) in steps, of the part of the state that is carried longest (the c of an LSTM): the τ of the AR(1) with the same integrated
    autocorrelation τ_int = ½ + Σ ρ_k, summed up to 5 τ_int and corrected for the mean that was taken off (Wolff 2004, eq. 49)."""
    own = system.states[:, 1:, -_carried_longest(system) :]
    mask = system.mask[..., None]
    total = int(system.lengths.sum())
    centred = np.where(mask, own - (own * mask).sum(axis=(0, 1)) / total, 0.0)
    variance = np.einsum("bth,bth->h", centred, centred) / total
    result = np.full(own.shape[2], np.nan)
    active = np.flatnonzero(variance > 1e-20 * np.maximum(1e-300, (own**2).max(initial=0.0)))
    integrated = np.full(own.shape[2], 0.5)
    for lag in range(1, int(system.lengths.max()) // 2):
        if not active.size:
            break
        part = centred if len(active) == own.shape[2] else centred[:, :, active]
        pairs = np.maximum(system.lengths - lag, 0).sum()
        integrated[active] += np.einsum("bth,bth->h", part[:, lag:], part[:, :-lag]) / pairs / variance[active]
        done = lag >= _WINDOW * integrated[active]
        ended = active[done]
        result[ended] = integrated[ended] / np.maximum(1 - (2 * lag + 1 - 2 * integrated[ended]) / total, 0.5)
        active = active[~done]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(
            result > 0.5, -1 / np.log((2 * result - 1) / (2 * result + 1)), np.where(result <= 0.5, 0.0, np.nan)
        )


def _carried_longest(system: System) -> int:
    return getattr(system, "hidden_size", system.size)


def _meaning(value: np.ndarray, system: dict[str, np.ndarray], dt: float) -> str:
    unit = "steps" if dt == 1 else "units of time"
    share = float(np.mean(value < _SHORT * dt * (1 - 1e-9)))
    longest = max(float(each[0]) for each in system.values())
    whole = "forever" if np.isinf(longest) else f"τ = {longest:.3g}"
    return (
        f"{100 * share:.0f} % of units have a gate τ below {_SHORT * dt:g} {unit} (median {np.median(value):.3g}, longest {value.max():.3g}); the "
        f"network as a whole, weights included, keeps {whole}."
    )


def _system_meaning(system: dict[str, np.ndarray], dt: float) -> str:
    longest = max(float(each[0]) for each in system.values())
    unit = "steps" if dt == 1 else "units of time"
    kept = "does not forget" if np.isinf(longest) else f"forgets with τ = {longest:.3g} {unit}"
    return f"There are no gates that carry the state; the network as a whole {kept}."


def _panels(name: str, found: GateStatistics, data: dict[str, Any], dt: float) -> tuple[Panel, ...]:
    keeping = found.keeping
    assert keeping is not None
    tau = data["geometric"][name]
    counts = np.histogram(tau, TAU_EDGES * dt)[0]
    used = np.flatnonzero(counts)
    low, high = (0, 10) if not used.size else (max(0, used[0] - 5), min(len(counts), used[-1] + 6))
    longest = float(data["system"][name][0])
    rules = (Rule(longest, "x", "system τ"),) if np.isfinite(longest) and longest > 0 else ()
    units = np.arange(len(tau))
    return (
        Panel(
            f"Gate time constants, {name}",
            "τ, units of time",
            "units",
            (Histogram(TAU_EDGES[low : high + 1] * dt, counts[low:high], "geometric gate τ"), *rules),
            x_log=True,
        ),
        Panel(f"Carried gates, {name}", "step", "unit", (Heatmap(keeping.shown, units, keeping.raster, "gate"),)),
    )
