"""Every linear-Gaussian model is a state-space model: VARMA by its innovations form, the others by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from statewise._core.errors import UnsupportedError
from statewise.models.linear_gaussian import LinearGaussian
from statewise.models.state_space import StateSpace


def to_state_space(model: LinearGaussian) -> StateSpace:
    """The model's own state-space form, with given matrices (exact). Inputs that the model ignores have weights of zero.

    Raises:
        UnsupportedError: beside diffuse states there are some without any variance.
    """
    system, schema = model.system, model._schema
    nothing = (system.Pinf.diagonal() == 0) & (system.P0.diagonal() == 0)
    if system.Pinf.any() and nothing.any():
        raise UnsupportedError(
            "a damped component has a variance of zero, and so states that are always zero, which a StateSpace with a diffuse start would not "
            "keep; fit the model without it"
        )
    width = 0 if schema is None else len(schema["input_columns"])
    if width != system.D.shape[1]:
        system = replace(system, B=np.zeros((system.n, width)), D=np.zeros((system.p, width)))
    converted = StateSpace.from_system(system)
    if schema is not None:
        converted._schema = dict(schema)
    return converted
