"""The diagonal cell: the minimal gated recurrent unit (Feng et al. 2024), whose units do not see each other's past."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from statewise.cells.base import Cell, Linearised, Parameters, from_input


class DiagonalCell(Cell):
    """h[t] = (1 − z) h[t−1] + z n, with z = σ(W_z x + b_z), n = W_n x + b_n and rows in the order z, n; the Jacobian is diag(1 − z).

    There are no weights from the state; the parameters are those of `statewise.nn.MinGRU`.
    """

    name = "diagonal"
    gates = 2
    activations = {"z": "sigmoid", "n": "identity"}

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        z, n = np.split(from_input(params, x), 2, axis=-1)
        return state + expit(z) * (n - state)

    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        given, n = np.split(from_input(params, x), 2, axis=-1)
        z = expit(given)
        driven = np.stack([(n - state) * z * (1 - z), z], axis=-2)[..., None, :, :]
        return Linearised({"z": z, "n": n}, expit(-given)[..., None, None, :], driven[..., :0, :], driven)

    def recurrent_weight(self, params: Parameters) -> np.ndarray:
        size = self.state_size(params)
        return np.zeros((0, size), params["weight_ih_l0"].dtype)

    def state_size(self, params: Parameters) -> int:
        return params["weight_ih_l0"].shape[0] // self.gates
