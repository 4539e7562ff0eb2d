"""The simple recurrent network (Elman 1990), as torch.nn.RNN."""

from __future__ import annotations

import numpy as np

from statewise.cells.base import Cell, Linearised, Parameters, from_input, from_state, one_gate


class ElmanCell(Cell):
    """h[t] = tanh(W_ih x[t] + b_ih + W_hh h[t−1] + b_hh), with the Jacobian diag(1 − h[t]²) W_hh."""

    name = "rnn"
    gates = 1
    activations = {"h": "tanh"}

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.tanh(from_input(params, x) + from_state(params, state))

    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        h = self.step(params, x, state)
        return one_gate({"h": h}, 1 - h**2)


class RectifiedCell(Cell):
    """h[t] = max(0, W_ih x[t] + b_ih + W_hh h[t−1] + b_hh), torch.nn.RNN with nonlinearity='relu'; at 0 the slope is 0, as torch's."""

    name = "rnn-relu"
    gates = 1
    activations = {"h": "relu"}

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return np.maximum(from_input(params, x) + from_state(params, state), 0)

    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        h = self.step(params, x, state)
        return one_gate({"h": h}, (h > 0).astype(h.dtype))
