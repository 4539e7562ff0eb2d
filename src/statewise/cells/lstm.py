"""The long short-term memory cell (Hochreiter & Schmidhuber 1997; Gers et al. 2000), as torch.nn.LSTM."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from statewise.cells.base import Cell, Linearised, Parameters, from_input, from_state


class LSTMCell(Cell):
    """c[t] = f c[t−1] + i g, h[t] = o tanh(c[t]), with the rows of the weights in the order i, f, g, o.

    i, f and o are σ(W_i· x + b_i· + W_h· h + b_h·), g is the tanh of its own such sum. The state is (h, c) side by side, 2H numbers.
    At the origin with zero biases but the forget gate's, the Jacobian has the eigenvalues f + i o eig(W_hg) and H exact zeros.
    """

    name = "lstm"
    gates = 4
    carried = 2
    activations = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "c": "tanh"}

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        i, f, g, o = _gates(params, x, self.hidden(state))
        c = f * _cell(state) + i * g
        return np.concatenate([o * np.tanh(c), c], axis=-1)

    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        i, f, g, o = _gates(params, x, self.hidden(state))
        before = _cell(state)
        c = f * before + i * g
        squashed = np.tanh(c)
        read = o * (1 - squashed**2)
        zero = np.zeros_like(c)
        in_c = np.stack([g * i * (1 - i), before * f * (1 - f), i * (1 - g**2), zero], axis=-2)
        in_h = read[..., None, :] * in_c
        in_h[..., 3, :] = squashed * o * (1 - o)
        sums = np.stack([in_h, in_c], axis=-3)
        direct = np.stack([np.stack([zero, read * f], axis=-2), np.stack([zero, f], axis=-2)], axis=-3)
        return Linearised({"i": i, "f": f, "g": g, "o": o, "c": squashed}, direct, sums, sums)


def _cell(state: np.ndarray) -> np.ndarray:
    """(..., H) the cell state c."""
    return state[..., state.shape[-1] // 2 :]


def _gates(params: Parameters, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """i, f, g and o, each (..., H)."""
    i, f, g, o = np.split(from_input(params, x) + from_state(params, h), 4, axis=-1)
    return expit(i), expit(f), np.tanh(g), expit(o)
