"""A linear RNN embedded in a tanh RNN, a GRU or an LSTM that works at a small scale ε.

tanh(ε v) = ε v − (ε v)³/3 + …, so at small amplitude every cell with held gates is linear: the state is ε times the linear one and the
predictions differ by a share of O(ε²). Gates are held at ½ by biases of zero. The gain is the settled one.
"""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise.models.cell_network import EmbeddedRNN
from statewise.models.linear_rnn import LinearRNN

_SCALE = checks.Real(0.0, 1.0, open_low=True)


def linear_to_tanh(model: LinearRNN, scale: float = 1e-3) -> EmbeddedRNN:
    """h[t] = tanh(M h[t−1] + ε(N x[t] + b)), M = A − K C the recurrent weight."""
    scale, own = _SCALE.check("scale", scale), _Linear(model)
    n = len(own.M)
    arrays = {
        "weight_ih_l0": scale * own.N,
        "weight_hh_l0": own.M,
        "bias_ih_l0": scale * own.b,
        "bias_hh_l0": np.zeros(n),
        "initial_state": scale * own.h0,
        "readout": own.C / scale,
    }
    return EmbeddedRNN.from_arrays("rnn", own.rest() | arrays, model._schema)


def linear_to_gru(model: LinearRNN, scale: float = 1e-3) -> EmbeddedRNN:
    """With r = z = ½: h[t] = ½ h[t−1] + ½ tanh(½ (4 M − 2 I) h[t−1] + 2 ε(N x[t] + b))."""
    scale, own = _SCALE.check("scale", scale), _Linear(model)
    n, width = len(own.M), own.N.shape[1]
    arrays = {
        "weight_ih_l0": np.vstack([np.zeros((2 * n, width)), 2 * scale * own.N]),
        "weight_hh_l0": np.vstack([np.zeros((2 * n, n)), 4 * own.M - 2 * np.eye(n)]),
        "bias_ih_l0": np.concatenate([np.zeros(2 * n), 2 * scale * own.b]),
        "bias_hh_l0": np.zeros(3 * n),
        "initial_state": scale * own.h0,
        "readout": own.C / scale,
    }
    return EmbeddedRNN.from_arrays("gru", own.rest() | arrays, model._schema)


def linear_to_lstm(model: LinearRNN, scale: float = 1e-3) -> EmbeddedRNN:
    """With i = f = o = ½ and c ≈ 2 h: c[t] = ½ c[t−1] + ½ tanh((4 M − 2 I) h[t−1] + 2 ε(N x[t] + b)), h = ½ tanh(c)."""
    scale, own = _SCALE.check("scale", scale), _Linear(model)
    n, width = len(own.M), own.N.shape[1]
    arrays = {
        "weight_ih_l0": np.vstack([np.zeros((2 * n, width)), 2 * scale * own.N, np.zeros((n, width))]),
        "weight_hh_l0": np.vstack([np.zeros((2 * n, n)), 4 * own.M - 2 * np.eye(n), np.zeros((n, n))]),
        "bias_ih_l0": np.concatenate([np.zeros(2 * n), 2 * scale * own.b, np.zeros(n)]),
        "bias_hh_l0": np.zeros(4 * n),
        "initial_state": np.tanh(scale * own.h0) / 2,
        "initial_cell": scale * own.h0,
        "readout": 2 * own.C / scale,
    }
    return EmbeddedRNN.from_arrays("lstm", own.rest() | arrays, model._schema)


class _Linear:
    """h[t] = M h[t−1] + N x[t] + b for x = (y, u), and what the embedding needs beside it."""

    def __init__(self, model: LinearRNN) -> None:
        own = model._weights()
        K, self.C, d = own["gain"][-1], own["observation"], own["observation_intercept"]
        self.D = own["input_to_observation"]
        self.M = own["transition"] - K @ self.C
        self.N = np.hstack([K, own["input_to_state"] - K @ self.D])
        self.b = own["state_intercept"] - K @ d
        self.d, self.h0 = d, own["initial_state"]
        root = np.tril(own["innovation_chol"][-1])
        self.cov = root @ root.T

    def rest(self) -> dict[str, np.ndarray]:
        """The readout's offset, the first prediction, and the innovations' covariance."""
        return {
            "readout_bias": self.d,
            "first_prediction": self.C @ self.h0 + self.d,
            "innovation_cov": self.cov,
            "input_to_observation": self.D,
        }
