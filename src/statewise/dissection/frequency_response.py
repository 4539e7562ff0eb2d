"""What a network does to slow and fast signals: its Bode plot around a resting state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from statewise._core import checks
from statewise.dissection.diagnostic import Diagnostic, Status, refused
from statewise.dissection.fixed_points import remembered_equilibria
from statewise.dissection.panels import Line, Panel, Points, Rule
from statewise.dissection.subject import Subject
from statewise.dissection.systems import System

SOURCE = "Oppenheim & Schafer 2010, chapter 5; Sussillo & Barak 2013 (linearisation)"
_POINTS = 256
_PROBES = 6
_PERIODS = 512  # steps over which a probe is read
_LONGEST = 8192  # steps before that
_AGREE = 1e-3


@dataclass(frozen=True)
class Linear:
    """δs[t] = A δs[t−1] + B δx[t], δo[t] = C δs[t] around the state `at` under the input `x`."""

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    at: np.ndarray
    x: np.ndarray


def frequency_response(subject: Subject, *, x: Any = None, points: int = _POINTS, seed: int | None = 0) -> Diagnostic:
    """H(e^{jω}) = C (I − A e^{−jω})⁻¹ B, from the input to the output, of the network linearised at a stable fixed point.

    ::

        C (I − A e^{−jω})⁻¹ B = C' (e^{jω} I − A)⁻¹ B + D    with C' = C A and D = C B, since an input acts in its own step

    Linearised at the stable fixed point in which most starts ended or, where there is none, at the mean state. Small sines are then sent
    through the network itself, and what comes out is compared.

    Args:
        x: (d,) the input around which; default the mean of the batch.
        points: frequencies, evenly spread from 0 to π.
        seed: of the search for fixed points.

    Returns:
        value: the peak gain, the largest singular value of H over all frequencies. Data: `frequency` ω (radians a step), `hertz` (cycles
        per unit of time), `response` H (points, outputs, inputs), `gain` σ_max(H), `magnitude` in dB, `phase` and `group_delay` (in units of
        time) of the strongest pair of input and output, `pair`, `dc_gain`, `nyquist_gain`, `cutoffs` (ω at which the gain is 3 dB below its
        peak), `peak_frequency`, `probe_frequency`, `probe_gain`, `probe_error` (relative, the largest), `poles`, `at`.
    """
    count = checks.Integer(8).check("points", points)
    site = subject.sites[0]
    system = site.system.at(np.float64)
    if not system.steps_anywhere or not system.inputs.shape[2]:
        why = "there is no input" if system.steps_anywhere else "only Jacobians are known, no step to take"
        return refused("frequency_response", why, SOURCE)
    linear, reason = _linear(subject, system, x, seed)
    poles = np.linalg.eigvals(linear.A)
    radius = float(np.abs(poles).max())
    if radius >= 1:
        return refused(
            "frequency_response",
            f"the linearised network is unstable (spectral radius {radius:.4g}), so that sines do not settle; pass another x",
            SOURCE,
        )
    data = _measured(system, linear, count, subject.dt) | {"poles": poles, "at": linear.at}
    if data["probe_error"] > _AGREE:
        off = 100 * data["probe_error"]
        reason = (
            f"small sines through the network differ by {off:.2g} % from the linear response; it is not linear here"
        )
    peak = data["peak_gain"]
    return Diagnostic(
        "frequency_response",
        peak,
        None,
        Status.NOT_CONVERGED if reason else Status.CONVERGED,
        reason,
        _meaning(peak, data, subject.dt),
        SOURCE,
        data,
        _panels(data),
    )


def _measured(system: System, linear: Linear, points: int, dt: float) -> dict[str, Any]:
    """The response on a grid of frequencies, what stands out of it, and the probes."""
    solver, omega = Response(linear), np.linspace(0, np.pi, points)
    H = solver.at(omega)
    gain = np.linalg.norm(H, 2, axis=(1, 2))
    peak_at, peak = _peak(solver, omega, gain)
    output, given = (int(i) for i in np.unravel_index(int(np.argmax(np.abs(H).max(axis=0))), H.shape[1:]))
    chosen = H[:, output, given]
    with np.errstate(divide="ignore"):
        decibels = 20 * np.log10(np.abs(chosen))
    return {
        "frequency": omega,
        "hertz": omega / (2 * np.pi * dt),
        "response": H,
        "gain": gain,
        "magnitude": decibels,
        "phase": np.unwrap(np.angle(chosen)),
        "group_delay": dt * solver.group_delay(omega, output, given),
        "pair": (given, output),
        "dc_gain": float(gain[0]),
        "nyquist_gain": float(gain[-1]),
        "peak_gain": peak,
        "peak_frequency": peak_at,
        "cutoffs": _crossings(solver, omega, gain, peak / np.sqrt(2)),
        **_probe(system, linear, solver),
    }


def _linear(subject: Subject, system: System, x: Any, seed: int | None) -> tuple[Linear, str]:
    """Where to linearise, and what is wrong with it."""
    found = remembered_equilibria(subject, 0, x, seed)
    radius = np.array([np.abs(np.linalg.eigvals(J)).max() for J in found.jacobians])
    stable = np.flatnonzero(found.exact & (radius < 1)) if len(radius) else np.zeros(0, int)
    reason = ""
    if stable.size:
        at = found.states[stable[np.argmax(found.arrived[stable])]]
    else:
        at = system.states[:, 1:][system.mask].mean(axis=0)
        reason = "there is no stable fixed point, so that it is linearised at the mean state"
    inputs, state = found.x[None], at[None]
    A, B = system.jacobian_at(inputs, state)[0], system.input_jacobian_at(inputs, state)[0]
    return Linear(A, B, system.spread(np.eye(system.readout_size)), at, found.x), reason


class Response:
    """H at any frequencies, from one Schur form A = Q T Qᴴ and triangular solves."""

    def __init__(self, linear: Linear) -> None:
        self.T, Q = linalg.schur(linear.A.astype(complex), output="complex")
        self.B, self.C = Q.conj().T @ linear.B, linear.C @ Q

    def at(self, omega: np.ndarray) -> np.ndarray:
        """(W, r, d)."""
        return np.stack([self.C @ self._solved(w, self.B) for w in np.atleast_1d(omega)])

    def gain(self, omega: float) -> float:
        """σ_max(H)."""
        return float(np.linalg.norm(self.at(np.array([omega]))[0], 2))

    def group_delay(self, omega: np.ndarray, output: int, given: int) -> np.ndarray:
        """(W,) −d phase / dω of one entry, in steps: Im(−H'/H), with H' = −C M⁻¹ (j A e^{−jω}) M⁻¹ B and M = I − A e^{−jω}."""
        found = np.full(len(omega), np.nan)
        for k, w in enumerate(omega):
            inner = self._solved(w, self.B[:, given])
            H = self.C[output] @ inner
            slope = -self.C[output] @ self._solved(w, 1j * np.exp(-1j * w) * (self.T @ inner))
            if abs(H) > 0:
                found[k] = -(slope / H).imag
        return found

    def _solved(self, omega: float, right: np.ndarray) -> np.ndarray:
        M = np.eye(len(self.T)) - self.T * np.exp(-1j * omega)
        return np.asarray(linalg.solve_triangular(M, right))


def _peak(solver: Response, omega: np.ndarray, gain: np.ndarray) -> tuple[float, float]:
    """Where the gain is largest and how large, refined between the grid's points."""
    k = int(np.argmax(gain))
    low, high = omega[max(k - 1, 0)], omega[min(k + 1, len(omega) - 1)]
    for _ in range(40):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if solver.gain(a) < solver.gain(b):
            low = a
        else:
            high = b
    middle = (low + high) / 2
    best = max([(solver.gain(w), w) for w in (omega[k], middle)])
    return float(best[1]), best[0]


def _crossings(solver: Response, omega: np.ndarray, gain: np.ndarray, level: float) -> np.ndarray:
    """Every ω at which the gain crosses the level, by bisection."""
    found = []
    for k in np.flatnonzero((gain[:-1] - level) * (gain[1:] - level) < 0):
        low, high, rises = omega[k], omega[k + 1], gain[k + 1] > gain[k]
        for _ in range(50):
            middle = (low + high) / 2
            if (solver.gain(middle) < level) == rises:
                low = middle
            else:
                high = middle
        found.append((low + high) / 2)
    return np.array(found)


def _probe(system: System, linear: Linear, solver: Response) -> dict[str, Any]:
    """Small sines sent through the network itself, along the input direction that is strongest at rest."""
    direction = np.linalg.svd(solver.at(np.zeros(1))[0].real)[2][0]
    cycles = np.unique(np.geomspace(1, _PERIODS // 2 - 1, _PROBES).astype(int))
    omega = 2 * np.pi * cycles / _PERIODS
    slowest = float(np.abs(np.diagonal(solver.T)).max())
    settle = int(np.clip(np.log(1e-10) / np.log(max(slowest, 1e-6)), 16, _LONGEST))
    size = 1e-5 * max(1.0, float(np.abs(linear.x).max(initial=0.0)))
    states = np.tile(linear.at, (len(omega), 1))
    rest = system.step(linear.x[None], linear.at[None])[0]
    drift = rest - linear.at  # of a state that is not a fixed point: taken off, so that it is held
    seen = np.zeros((len(omega), system.readout_size), complex)
    for t in range(settle + _PERIODS):
        x = linear.x + size * np.cos(omega * t)[:, None] * direction
        states = system.step(x, states) - drift
        if t >= settle:
            moved = (states - linear.at) @ linear.C.T
            seen += moved * np.exp(-1j * omega * t)[:, None] * (2 / (_PERIODS * size))
    expected = solver.at(omega) @ direction
    error = np.linalg.norm(seen - expected, axis=1) / np.maximum(np.linalg.norm(expected, axis=1), 1e-300)
    return {
        "probe_frequency": omega,
        "probe_gain": np.linalg.norm(seen, axis=1),
        "probe_expected": np.linalg.norm(expected, axis=1),
        "probe_error": float(error.max()),
    }


def _meaning(peak: float, data: dict[str, Any], dt: float) -> str:
    cutoffs = data["cutoffs"]
    if not len(cutoffs):
        kind = "passes all frequencies within 3 dB"
    elif len(cutoffs) == 1 and data["gain"][0] > data["gain"][-1]:
        period = 2 * np.pi / cutoffs[0] * dt
        kind = f"is a low-pass filter that is 3 dB down at a period of {period:.3g} {'steps' if dt == 1 else 'units of time'}"
    elif len(cutoffs) == 1:
        kind = "is a high-pass filter"
    else:
        kind = f"is a filter with its peak at a period of {2 * np.pi / max(data['peak_frequency'], 1e-12) * dt:.3g}"
    return f"To small signals the network {kind}; peak gain {peak:.3g}."


def _panels(data: dict[str, Any]) -> tuple[Panel, ...]:
    inside = slice(1, None)
    omega = data["frequency"][inside]
    rules = tuple(Rule(float(w), "x", "−3 dB") for w in data["cutoffs"][:1])

    def decibels(gain: np.ndarray) -> np.ndarray:
        return 20 * np.log10(np.maximum(gain, 1e-300))

    return (
        Panel(
            "Gain",
            "ω, radians a step",
            "σ_max(H), dB",
            (
                Line(omega, decibels(data["gain"][inside]), "linearised"),
                Points(data["probe_frequency"], decibels(data["probe_gain"]), "small sines"),
                *rules,
            ),
            x_log=True,
        ),
        Panel(
            "Phase of the strongest pair",
            "ω, radians a step",
            "radians",
            (Line(omega, data["phase"][inside]),),
            x_log=True,
        ),
        Panel(
            "Group delay", "ω, radians a step", "units of time", (Line(omega, data["group_delay"][inside]),), x_log=True
        ),
    )
