"""Every linear-Gaussian model is a state-space model: VARMA by its innovations form, the others by construction."""

from __future__ import annotations

from statewise.models.linear_gaussian import LinearGaussian
from statewise.models.state_space import StateSpace


def to_state_space(model: LinearGaussian) -> StateSpace:
    """The model's own state-space form, with given matrices (exact)."""
    converted = StateSpace.from_system(model.system)
    if model._schema is not None:
        converted._schema = dict(model._schema)
    return converted
