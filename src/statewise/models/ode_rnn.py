"""The recurrent network that an ODE solver is; made by `convert`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise.models.base import Model
from statewise.models.ode import ODE, settled
from statewise.nn.ode_cell import ODECell
from statewise.results.fit import Memory


class ODERNN(Model):
    """h[k+1] = h[k] + dt Φ(h[k]) as a recurrent cell; ``.module`` is the torch network, made by ``convert(ode, to="rnn")``."""

    kind = "ode-rnn"
    options = {}

    def __init__(self) -> None:
        super().__init__()
        self._module: ODECell | None = None
        self._source: Model | None = None

    @property
    def module(self) -> ODECell:
        """The torch network."""
        if self._module is None:
            raise UnsupportedError("this ODERNN has no network; make one with convert(ode, to='rnn')")
        return self._module

    @property
    def n_parameters(self) -> int:
        """Weights of the network."""
        return sum(p.numel() for p in self.module.parameters())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Not possible: save the ODE that it was made from."""
        raise UnsupportedError(
            "an ODERNN has no parameters of its own; save the ODE that it was made from, and convert it again"
        )

    def solve(self, start: Any, steps: int) -> np.ndarray:
        """(steps + 1, n) the states from `start` (n,) on, as the network runs."""
        module = self.module
        assert isinstance(self._source, ODE)
        start = self._source._start(start)
        steps = checks.counted("steps", steps, 2 * len(start), low=1)
        with torch.no_grad():
            after = module(torch.tensor(start)[None], steps)[0].numpy()
        return settled(np.vstack([start, after]))

    def memory(self, data: Any = None) -> Memory:
        """As of the ODE."""
        assert self._source is not None
        return self._source.memory(data)
