"""Opening a solver of an ordinary differential equation: each of its steps is one of a recurrence that nothing drives."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.dissection.losses import HALF_SQUARE
from statewise.dissection.open_gaussian import with_loss
from statewise.dissection.stepped import SteppedSystem
from statewise.dissection.subject import Site, Subject


def open_ode(model: Any, steps: Any, loss: Any, dt: float, initial: Any) -> Subject:
    """An ODE or ODERNN from its first states on, under ½‖state‖² per step; per unit of the model's own time unless `dt` is given.

    Args:
        steps: of the solver, from 1.
        initial: (n,) or (B, n).
    """
    if steps is None or initial is None:
        missing = "batch" if steps is None else "initial"
        raise InputError(
            f"`{missing}` is None; for an ODE pass the number of steps as `batch` and the first state as `initial`"
        )
    count = checks.Integer(1).check("batch", steps)
    start = np.atleast_2d(np.asarray(initial, dtype=np.float64))
    start = checks.array("initial", start, (None, None))
    cell = model.module if model.kind == "ode-rnn" else model.cell()

    def step(x: Tensor, state: Tensor) -> Tensor:
        after: Tensor = cell.step(state)
        return after

    lengths = np.full(len(start), count)
    system = SteppedSystem(step, np.zeros((len(start), count, 0)), lengths, start, "solver")
    own = np.stack([model.solve(row, count) for row in start])
    error = float(np.abs(system.states - own).max())
    notes: tuple[str, ...] = ()
    site, words = Site("", system, system.states[:, 1:].copy()), HALF_SQUARE.replace("output", "state")
    if loss is not None:
        site, words, notes = with_loss(system, loss)
    return Subject(model.name, (site,), words, error, cell.dt if dt == 1.0 else dt, model, steps, notes)
