"""The diagonal cell: the minimal gated recurrent unit (Feng et al. 2024), whose units do not see each other's past."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from statewise.cells.base import Cell, Parameters, from_input


class DiagonalCell(Cell):
    """h[t] = (1 − z) h[t−1] + z n, with z = σ(W_z x + b_z), n = W_n x + b_n and rows in the order z, n; the Jacobian is diag(1 − z).

    There are no weights from the state; the parameters are those of `statewise.nn.MinGRU`.
    """

    name = "diagonal"
    gates = 2

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        z, n = np.split(from_input(params, x), 2, axis=-1)
        return state + expit(z) * (n - state)

    def jacobian(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        keep = expit(-np.split(from_input(params, x), 2, axis=-1)[0])
        return keep[..., None] * np.eye(state.shape[-1], dtype=keep.dtype)

    def state_size(self, params: Parameters) -> int:
        return params["weight_ih_l0"].shape[0] // self.gates
