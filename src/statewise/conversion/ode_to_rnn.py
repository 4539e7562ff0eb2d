"""One step of an ODE solver is a recurrent cell (theory §6): the network makes the solver's own steps, exactly."""

from __future__ import annotations

from statewise.models.ode import ODE
from statewise.models.ode_rnn import ODERNN


def ode_to_rnn(model: ODE) -> ODERNN:
    """The recurrent network whose steps are the solver's (exact); a module's weights are shared with it, not copied."""
    made = ODERNN()
    made._module, made._source = model.cell(), model
    return made
