"""Errors of single steps on their way through time: the recurrence read as one step of an ODE solver."""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.panels import Line, Panel, Rule
from statewise.dissection.products import log_norm, scaled, spectral_norms
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

SOURCE = "Dahlquist 1959; Lozinskii 1958; Söderlind 2006; Hairer, Nørsett & Wanner 1993, section I.10"


def error_amplification(subject: Subject, *, sequence: int = 0) -> Diagnostic:
    """E = Σ_k ‖J[T] … J[k+1]‖₂: how large errors of one unit, made anew in every step, can be together after the last one.

    ::

        e[n] = J[n] e[n−1] + local[n],  J[n] = I + h A[n]:  the global error of a one-step method is a sum of back-propagation's products
        μ_h = max(‖J‖₂ − 1, over the steps) / h  ≥  the growth of e per unit of time;   E ≤ ((1 + μ_h h)^T − 1) / (μ_h h)

    The logarithmic norms μ₁, μ₂ and μ_∞ of A = (J − I) / h bound the exact flow, not this recurrence: only μ_h does.

    Args:
        sequence: the one that is followed.

    Returns:
        value: E, the last; infinite where it overflows, `log_value` does not. Data: `step_norms` ‖J[t]‖₂, `mu_1`, `mu_2`, `mu_inf`
        (T,) of every step, `mu_h`, `bound` from μ_h, `norm_bound` Σ ∏‖J‖, and `log_amplification` (T,): ln ‖J[T] … J[k+1]‖ by k.
    """
    one = checks.Integer(0).check("sequence", sequence)
    whole = subject.sites[0].system.at(np.float64)
    system = whole.rows(np.array([min(one, whole.batch - 1)]))
    steps, h = int(system.lengths[0]), subject.dt
    J = np.stack([system.jacobian(t)[0] for t in range(steps)])
    norms = spectral_norms(J)
    A = (J - np.eye(system.size)) / h
    mu = {kind: logarithmic_norm(A, kind) for kind in ("1", "2", "inf")}
    logs = _to_the_end(system, steps)
    log_value = float(np.logaddexp.reduce(logs))
    with np.errstate(divide="ignore"):
        log_norms = np.log(norms)
    by_norms = float(np.logaddexp.reduce(np.append(np.cumsum(log_norms[:0:-1]), 0.0)))
    mu_h = float(norms.max() - 1) / h
    value = _exp(log_value)
    return Diagnostic(
        "error_amplification",
        value,
        None,
        Status.CONVERGED,
        "",
        _meaning(log_value, steps, mu_h),
        SOURCE,
        {
            "log_value": log_value,
            "step_norms": norms,
            "mu_1": mu["1"],
            "mu_2": mu["2"],
            "mu_inf": mu["inf"],
            "mu_h": mu_h,
            "bound": growth_bound(mu_h, h, steps),
            "norm_bound": _exp(by_norms),
            "log_amplification": logs,
        },
        _panels(norms, mu, logs),
    )


def logarithmic_norm(A: np.ndarray, kind: str = "2") -> np.ndarray:
    """μ(A) = lim (‖I + hA‖ − 1)/h as h -> 0, for matrices (…, n, n); kind '1', '2' or 'inf'.

    ::

        μ₁ = max_j (a_jj + Σ_{i≠j} |a_ij|)      μ₂ = λ_max((A + Aᵀ)/2)      μ_∞ = max_i (a_ii + Σ_{j≠i} |a_ij|)
    """
    kind = checks.Choice(("1", "2", "inf")).check("kind", kind)
    if kind == "2":
        return np.asarray(np.linalg.eigvalsh((A + np.swapaxes(A, -1, -2)) / 2)[..., -1])
    diagonal = np.diagonal(A, axis1=-2, axis2=-1)
    sums = np.abs(A).sum(axis=-2 if kind == "1" else -1)
    return np.asarray((diagonal + sums - np.abs(diagonal)).max(axis=-1))


def growth_bound(mu_h: float, h: float, steps: int) -> float:
    """((1 + μ_h h)^N − 1) / (μ_h h), or N where μ_h = 0: what bounds Σ_k ∏‖I + hA‖; times the largest local error, the global one.

    For μ_h > 0 it is below (e^{μ_h h N} − 1) / (μ_h h), the usual form, which for μ_h < 0 is no bound of the sum but a little less than it.
    For explicit Euler with |y''| ≤ M the local error is at most M h²/2.
    """
    rate = mu_h * h
    if abs(rate) < 1e-14:
        return float(steps)
    with np.errstate(over="ignore", divide="ignore"):
        return float(np.expm1(steps * np.log1p(max(rate, -1.0))) / rate)


def _to_the_end(system: System, steps: int) -> np.ndarray:
    """(T,) ln ‖J[T] … J[k+1]‖₂ for errors made at step k, the last of them 0."""
    logs = np.zeros(steps)
    rows, log = np.eye(system.size)[None], np.zeros(1)
    for t in range(steps - 1, 0, -1):
        rows, log = scaled(system.pull(t, rows), log)
        logs[t - 1] = (log + log_norm(rows))[0]
    return logs


def _exp(log: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(log))


def _finite(logs: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(logs), logs, np.nan)


def _meaning(log_value: float, steps: int, mu_h: float) -> str:
    size = f"{np.exp(log_value):.3g}" if log_value < 20 else f"10^{log_value / np.log(10):.0f}"
    tail = "no single step enlarges an error" if mu_h < 1e-12 else "single steps enlarge errors"
    return f"Errors of one unit in each of {steps} steps can add up to {size} at the end; {tail}."


def _panels(norms: np.ndarray, mu: dict[str, np.ndarray], logs: np.ndarray) -> tuple[Panel, ...]:
    at = np.arange(1, len(norms) + 1)
    lines = [Line(at, each, f"μ{kind}".replace("inf", "∞")) for kind, each in mu.items()]
    left = Line(at, _finite(logs))
    return (
        Panel("One-step amplification", "step", "‖J[t]‖₂", (Line(at, norms, "‖J[t]‖₂"), Rule(1.0, "y"))),
        Panel("Logarithmic norms of (J − I) / h", "step", "per unit of time", (*lines, Rule(0.0, "y"))),
        Panel("What is left of an error at the end", "made at step", "ln ‖J[T] … J[k+1]‖", (left,)),
    )
