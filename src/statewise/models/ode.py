"""An ordinary differential equation with an explicit solver: a recurrence, and as `convert` makes it, a recurrent network."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, NumericalError, UnsupportedError
from statewise.inference.steady import spectral_radius
from statewise.models.base import Model
from statewise.results.fit import Memory, half_life

METHODS = ("euler", "midpoint", "rk4", "exponential-euler")


def settled(path: np.ndarray) -> np.ndarray:
    """The states of a path, if all are finite."""
    if not np.isfinite(path).all():
        step = int(np.argwhere(~np.isfinite(path))[0][0])
        raise NumericalError(
            f"the state is not finite from step {step} on; pass a smaller `dt`, fewer `steps` or a stable `f`"
        )
    return path


class Field:
    """The option `f`: a callable of torch tensors, or a square matrix."""

    def check(self, name: str, value: Any) -> Any:
        if callable(value):
            return value
        table = checks.array(name, value, (None, None))
        if table.shape[0] != table.shape[1]:
            raise InputError(f"`{name}` has shape {table.shape}; pass a square matrix, or a callable of states (N, n)")
        return table

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("text", np.zeros((2, 3)))


class ODE(Model):
    """dh/dt = f(h), stepped by an explicit rule: h[k+1] = h[k] + dt Φ(h[k]).

    Args:
        f: a matrix A for f(h) = A h, or a torch callable that takes states (N, n) and gives their rates of change (N, n).
        method: 'euler' (order 1), 'midpoint' (2), 'rk4' (4) or 'exponential-euler' (exact where f is linear, 2 else).
        dt: the step, above 0, in units of time.

    ``convert(ode, to="rnn").module`` is the recurrent cell that makes the same steps; explicit Euler is the residual network.

    Example:
        >>> sw.ODE([[-2.0]], method="euler", dt=0.1).solve([1.0], steps=10)[-1].round(6)
        array([0.107374])
    """

    kind = "ode"
    options = {"f": Field(), "method": checks.Choice(METHODS), "dt": checks.Real(0.0, np.inf, open_low=True)}

    def __init__(self, f: Any, method: str = "rk4", dt: float = 1.0) -> None:
        super().__init__(f=f, method=method, dt=dt)
        given = self._options["f"]
        self._parameters = {"matrix": given} if isinstance(given, np.ndarray) else {}

    @property
    def label(self) -> str:
        f = self._options["f"]
        shown = f"{len(f)} states" if isinstance(f, np.ndarray) else getattr(f, "__name__", type(f).__name__)
        return f"{shown}, method={self._options['method']!r}, dt={self._options['dt']:g}"

    @property
    def n_parameters(self) -> int:
        """Entries of the matrix, or weights of a torch module."""
        f = self._options["f"]
        return int(f.size) if isinstance(f, np.ndarray) else sum(p.numel() for p in getattr(f, "parameters", list)())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a folder.

        Raises:
            UnsupportedError: f is a callable, and model files never hold code.
        """
        if not self._parameters:
            raise UnsupportedError("`f` is a callable, and model files never hold code; save its weights with torch")
        super().save(path)

    def cell(self) -> Any:
        """The torch module that makes one step of the solver."""
        import torch

        from statewise.nn.ode_cell import ODECell

        f = self._options["f"]
        return ODECell(
            torch.tensor(f) if isinstance(f, np.ndarray) else f, self._options["method"], self._options["dt"]
        )

    def solve(self, start: Any, steps: int) -> np.ndarray:
        """(steps + 1, n) the states from `start` (n,) on, at the times 0, dt, 2 dt, …"""
        import torch

        start = self._start(start)
        steps = checks.counted("steps", steps, 2 * len(start), low=0)
        state, found = torch.tensor(start)[None], [start]
        cell = self.cell()
        with torch.no_grad():
            for _ in range(steps):
                state = cell.step(state)
                found.append(state[0].numpy())
        return settled(np.stack(found))

    def _start(self, start: Any) -> np.ndarray:
        """(n,) a state that f takes: of the matrix's size, or one for which the callable gives rates of its shape."""
        import torch

        f = self._options["f"]
        state = checks.row("start", start, len(f) if isinstance(f, np.ndarray) else None)
        if not isinstance(f, np.ndarray):
            with torch.no_grad():
                rates = f(torch.tensor(state)[None])
            if not isinstance(rates, torch.Tensor) or rates.shape != (1, len(state)):
                raise InputError(
                    f"`f` gives {checks.shown(rates)} for a state of shape (1, {len(state)}); return a tensor of that shape"
                )
        return state

    def memory(self, data: Any = None) -> Memory:
        """From the eigenvalues of one step, for f(h) = A h.

        Raises:
            UnsupportedError: f is a callable, whose memory depends on where it is.
        """
        if not self._parameters:
            raise UnsupportedError(
                "`f` is a callable, whose memory depends on the state; look at its Jacobian along a path"
            )
        rate = spectral_radius(self.cell().weight().detach().numpy())
        return Memory(half_life(rate), rate, "eigenvalues")
