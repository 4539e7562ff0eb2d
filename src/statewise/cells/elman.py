"""The simple recurrent network (Elman 1990), as torch.nn.RNN with tanh."""

from __future__ import annotations

import numpy as np

from statewise.cells.base import Cell, Parameters, from_input, from_state, scaled_rows


class ElmanCell(Cell):
    """h[t] = tanh(W_ih x[t] + b_ih + W_hh h[t−1] + b_hh), with the Jacobian diag(1 − h[t]²) W_hh."""

    name = "rnn"
    gates = 1

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.tanh(from_input(params, x) + from_state(params, state))

    def jacobian(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        h = self.step(params, x, state)
        return scaled_rows(1 - h**2, params["weight_hh_l0"])
