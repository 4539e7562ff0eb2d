"""The linear cell: the recurrence of a Kalman filter, and of every VARMA."""

from __future__ import annotations

import numpy as np

from statewise.cells.base import Cell, Linearised, Parameters, from_input, from_state, one_gate


class LinearCell(Cell):
    """h[t] = W_ih x[t] + b_ih + W_hh h[t−1] + b_hh, with the Jacobian W_hh everywhere."""

    name = "linear"
    gates = 1
    activations = {"h": "identity"}

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return from_input(params, x) + from_state(params, state)

    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        return one_gate({"h": self.step(params, x, state)}, np.ones_like(state))
