"""A leaky integrator as an LSTM or a GRU whose gates are held, and back.

c[t] = f c[t−1] + i g[t] with the gates held at f and i = 1 − f is the integrator exactly; g = tanh(ε gain x) and the output's tanh(c) make the
response differ by a share of O(ε²). Source: theory §7 and §8.
"""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise.models.cell_network import CellNetwork, GRUNetwork, LSTMNetwork
from statewise.models.leaky import LeakyIntegrator

_SCALE = checks.Real(0.0, 1.0, open_low=True)


def leaky_to_lstm(model: LeakyIntegrator, scale: float = 1e-3) -> LSTMNetwork:
    """b_f = logit f, b_i = −b_f, g = tanh(ε gain x), o = ½; the readout divides by ε o. Approximate: a share of O(ε²)."""
    scale = _SCALE.check("scale", scale)
    n, logit = model.n_parameters // 2, _logit(model)
    zero = np.zeros((n, n))
    arrays = _common(n) | {
        "weight_ih_l0": np.vstack([zero, zero, scale * np.diag(model.parameters["gain"]), zero]),
        "weight_hh_l0": np.zeros((4 * n, n)),
        "bias_ih_l0": np.concatenate([-logit, logit, np.zeros(2 * n)]),
        "bias_hh_l0": np.zeros(4 * n),
        "initial_cell": np.zeros(n),
        "readout": np.eye(n) * 2 / scale,
        "dt": np.array(model.get_params()["dt"]),
    }
    return LSTMNetwork.from_arrays("lstm", arrays)


def leaky_to_gru(model: LeakyIntegrator, scale: float = 1e-3) -> GRUNetwork:
    """z = f (it keeps), n = tanh(ε gain x); the readout divides by ε. Approximate: a share of O(ε²)."""
    scale = _SCALE.check("scale", scale)
    n, logit = model.n_parameters // 2, _logit(model)
    zero = np.zeros((n, n))
    arrays = _common(n) | {
        "weight_ih_l0": np.vstack([zero, zero, scale * np.diag(model.parameters["gain"])]),
        "weight_hh_l0": np.zeros((3 * n, n)),
        "bias_ih_l0": np.concatenate([np.zeros(n), logit, np.zeros(n)]),
        "bias_hh_l0": np.zeros(3 * n),
        "readout": np.eye(n) / scale,
        "dt": np.array(model.get_params()["dt"]),
    }
    return GRUNetwork.from_arrays("gru", arrays)


def gates_to_leaky(model: CellNetwork) -> LeakyIntegrator:
    """τ = −dt / ln f and the gain at frequency zero, from the gates that the biases hold and the slopes at rest.

    Raises:
        UnsupportedError: a gate listens to the input or the state, or units are mixed, so that no integrator is meant.
    """
    own = model.parameters
    gates = 4 if model.get_params()["cell"] == "lstm" else 3
    n, block = len(own["initial_state"]), 2  # g of an LSTM and n of a GRU are both the third block
    inputs = own["weight_ih_l0"].reshape(gates, n, -1)
    if own["weight_hh_l0"].any() or np.delete(inputs, block, axis=0).any():
        raise UnsupportedError(
            "a gate listens to the input or the state, so it is not held and no leaky integrator has these weights"
        )
    drive, read = inputs[block], own["readout"]
    bias = (own["bias_ih_l0"] + own["bias_hh_l0"]).reshape(gates, n)
    mixed = drive.shape != (n, n) or read.shape != (n, n)
    if mixed or (drive - np.diag(np.diag(drive))).any() or (read - np.diag(np.diag(read))).any() or bias[block].any():
        raise UnsupportedError(
            "the units share inputs or outputs, or have an offset, so they are not one leaky integrator each"
        )
    forget, taken = _sigmoid(bias[1]), 1 - _sigmoid(bias[1])
    out = np.diag(read)
    if gates == 4:
        taken, out = _sigmoid(bias[0]), out * _sigmoid(bias[3])
    gain = out * taken * np.diag(drive) / (1 - forget)
    if (gain <= 0).any():
        raise UnsupportedError("a unit has a gain that is not above 0, which no leaky integrator has")
    dt = float(own["dt"])
    return LeakyIntegrator(-dt / np.log(forget), gain, dt)


def _common(n: int) -> dict[str, np.ndarray]:
    return {"initial_state": np.zeros(n), "readout_bias": np.zeros(n)}


def _logit(model: LeakyIntegrator) -> np.ndarray:
    """logit f = ln f − ln(1 − f), from the time constant, so that no digits are lost where f is near 1."""
    ratio = model.get_params()["dt"] / model.parameters["tau"]
    return np.asarray(-ratio - np.log(-np.expm1(-ratio)))


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0.0, -a)))
