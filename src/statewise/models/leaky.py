"""The leaky integrator: a first-order low-pass filter with a time constant, which a gated cell is while its gates are held."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.models.base import Model
from statewise.results.fit import Memory, half_life


class LeakyIntegrator(Model):
    """c[t] = f c[t−1] + i x[t],  f = exp(−dt/tau),  i = gain · (1 − f): a first-order low-pass filter, one unit for each pair (tau, gain).

    Its transfer function is H(e^{jω}) = i / (1 − f e^{−jω}): `gain` at ω = 0, i/(1 + f) at the Nyquist frequency, and −3 dB at
    arccos(1 − (1 − f)²/(2f)), which exists for f ≥ 3 − 2√2.

    Args:
        tau: time constant above 0, in units of time, one or (units,).
        gain: at frequency zero, above 0, one or (units,).
        dt: time between two steps, above 0.

    ``convert(model, to="lstm")`` and ``to="gru"`` give the weights of a gated network whose cell path it is.

    Example:
        >>> sw.LeakyIntegrator(tau=5.0).respond([1.0, 1.0, 1.0]).round(4)
        array([[0.1813],
               [0.3297],
               [0.4512]])
    """

    kind = "leaky-integrator"
    options = {
        "tau": checks.Array(1),
        "gain": checks.Array(1),
        "dt": checks.Real(0.0, np.inf, open_low=True),
    }

    def __init__(self, tau: Any, gain: Any = 1.0, dt: float = 1.0) -> None:
        tau, gain = _positive("tau", tau), _positive("gain", gain)
        size = max(len(tau), len(gain))
        if {len(tau), len(gain)} - {1, size}:
            raise InputError(
                f"`tau` has {len(tau)} entries and `gain` {len(gain)}; pass one for each unit, or one for all"
            )
        tau, gain = (np.broadcast_to(part, size).copy() for part in (tau, gain))
        super().__init__(tau=tau, gain=gain, dt=dt)
        self._parameters = {"tau": tau, "gain": gain}

    @property
    def forget(self) -> np.ndarray:
        """(units,) f, what is kept in a step."""
        return np.asarray(np.exp(-self._options["dt"] / self.parameters["tau"]))

    @property
    def input_weight(self) -> np.ndarray:
        """(units,) i, what is taken in."""
        return np.asarray(-self.parameters["gain"] * np.expm1(-self._options["dt"] / self.parameters["tau"]))

    @property
    def n_parameters(self) -> int:
        """A time constant and a gain for each unit."""
        return 2 * len(self.parameters["tau"])

    def respond(self, x: Any) -> np.ndarray:
        """(T, units) the state after each step, from 0, for inputs x of shape (T,) for all units alike, or (T, units)."""
        units = len(self.parameters["tau"])
        given = checks.signal("x", x, units)
        found, c = np.empty(given.shape), np.zeros(units)
        for t, row in enumerate(given):
            c = self.forget * c + self.input_weight * row
            found[t] = c
        return found

    def frequency_response(self, omega: Any) -> np.ndarray:
        """(frequencies, units) H(e^{jω}), for ω in radians a step."""
        turn = np.exp(-1j * checks.row("omega", omega, None))
        return np.asarray(self.input_weight / (1 - self.forget * turn[:, None]))

    def memory(self, data: Any = None) -> Memory:
        """Half-life tau ln 2 / dt of the slowest unit, in steps."""
        rate = float(self.forget.max())
        return Memory(half_life(rate), rate, "eigenvalues")


def _positive(name: str, value: Any) -> np.ndarray:
    table = checks.row(name, value, None)
    if not len(table) or (table <= 0).any():
        raise InputError(f"`{name}` is {checks.shown(value)}; pass numbers above 0")
    return table
