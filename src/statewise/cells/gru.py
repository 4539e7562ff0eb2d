"""The gated recurrent unit (Cho et al. 2014), in the form of torch.nn.GRU: z keeps, and the reset gate acts after the product."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from statewise.cells.base import Cell, Linearised, Parameters, from_input, from_state


class GRUCell(Cell):
    """h[t] = (1 − z) n + z h[t−1], with the rows of the weights in the order r, z, n.

    ::

        r = σ(W_ir x + b_ir + W_hr h + b_hr)
        z = σ(W_iz x + b_iz + W_hz h + b_hz)
        q = W_hn h + b_hn
        n = tanh(W_in x + b_in + r q)

    At the origin with zero biases the Jacobian is z I + (1 − z) r W_hn.
    """

    name = "gru"
    gates = 3
    activations = {"r": "sigmoid", "z": "sigmoid", "n": "tanh"}

    def step(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        _, z, n, _ = _gates(params, x, state)
        return n + z * (state - n)

    def linearise(self, params: Parameters, x: np.ndarray, state: np.ndarray) -> Linearised:
        r, z, n, q = _gates(params, x, state)
        slope = (1 - z) * (1 - n**2)
        reset, keep = slope * q * r * (1 - r), (state - n) * z * (1 - z)
        recurrent = np.stack([reset, keep, slope * r], axis=-2)[..., None, :, :]
        driven = np.stack([reset, keep, slope], axis=-2)[..., None, :, :]
        return Linearised({"r": r, "z": z, "n": n}, z[..., None, None, :], recurrent, driven)


def _gates(params: Parameters, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """r, z, n and q, each (..., H)."""
    size = h.shape[-1]
    given, kept = from_input(params, x), from_state(params, h)
    r, z = np.split(expit(given[..., : 2 * size] + kept[..., : 2 * size]), 2, axis=-1)
    q = kept[..., 2 * size :]
    return r, z, np.tanh(given[..., 2 * size :] + r * q), q
