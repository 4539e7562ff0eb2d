"""The long short-term memory cell (Hochreiter & Schmidhuber 1997; Gers et al. 2000), as torch.nn.LSTM."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from statewise.cells.base import Cell, Parameters, from_input, from_state, scaled_rows


class LSTMCell(Cell):
    """c[t] = f c[t−1] + i g, h[t] = o tanh(c[t]), with the rows of the weights in the order i, f, g, o.

    i, f and o are σ(W_i· x + b_i· + W_h· h + b_h·), g is the tanh of its own such sum. The state is (h, c) side by side, 2H numbers.
    At the origin with zero biases but the forget gate's, the Jacobian has the eigenvalues f + i o eig(W_hg) and H exact zeros.
    """

    name = "lstm"
    gates = 4
    carried = 2

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        i, f, g, o = _gates(params, x, self.hidden(state))
        c = f * _cell(state) + i * g
        return np.concatenate([o * np.tanh(c), c], axis=-1)

    def jacobian(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        i, f, g, o = _gates(params, x, self.hidden(state))
        weight_i, weight_f, weight_g, weight_o = np.split(params["weight_hh_l0"], 4)
        before = _cell(state)
        squashed = np.tanh(f * before + i * g)
        size = before.shape[-1]
        result = np.zeros((*state.shape, 2 * size))
        c_by_h = scaled_rows(before * f * (1 - f), weight_f)
        c_by_h += scaled_rows(g * i * (1 - i), weight_i)
        c_by_h += scaled_rows(i * (1 - g**2), weight_g)
        read = o * (1 - squashed**2)
        result[..., size:, :size] = c_by_h
        result[..., :size, :size] = scaled_rows(read, c_by_h) + scaled_rows(squashed * o * (1 - o), weight_o)
        units = np.arange(size)
        result[..., size + units, size + units] = f
        result[..., units, size + units] = read * f
        return result


def _cell(state: np.ndarray) -> np.ndarray:
    """(..., H) the cell state c."""
    return state[..., state.shape[-1] // 2 :]


def _gates(params: Parameters, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """i, f, g and o, each (..., H)."""
    i, f, g, o = np.split(from_input(params, x) + from_state(params, h), 4, axis=-1)
    return expit(i), expit(f), np.tanh(g), expit(o)
