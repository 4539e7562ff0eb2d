"""Recurrent networks one number at a time: the definition of correct for `statewise.cells` and `statewise.inference.recurrent`.

Plain loops, in the equations of the PyTorch documentation (torch.nn.RNN, GRU, LSTM). Nothing of ours is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def sigmoid(a: float) -> float:
    return 1.0 / (1.0 + math.exp(-a))


def row(params: dict, which: str, k: int, x: np.ndarray) -> float:
    """Row k of W x + b, for which = 'ih' or 'hh'."""
    weight, bias = params[f"weight_{which}_l0"], params.get(f"bias_{which}_l0")
    return sum(weight[k, j] * x[j] for j in range(len(x))) + (0.0 if bias is None else bias[k])


def linear_step(params: dict, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    return np.array([row(params, "ih", k, x) + row(params, "hh", k, state) for k in range(len(state))])


def rnn_step(params: dict, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    return np.array([math.tanh(a) for a in linear_step(params, x, state)])


def rectified_step(params: dict, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    return np.array([max(a, 0.0) for a in linear_step(params, x, state)])


def gru_step(params: dict, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    size = len(state)
    new = np.empty(size)
    for k in range(size):
        r = sigmoid(row(params, "ih", k, x) + row(params, "hh", k, state))
        z = sigmoid(row(params, "ih", size + k, x) + row(params, "hh", size + k, state))
        n = math.tanh(row(params, "ih", 2 * size + k, x) + r * row(params, "hh", 2 * size + k, state))
        new[k] = (1 - z) * n + z * state[k]
    return new


def lstm_step(params: dict, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    size = len(state) // 2
    h, c = state[:size], state[size:]
    new = np.empty(2 * size)
    for k in range(size):
        i, f, g, o = (
            row(params, "ih", gate * size + k, x) + row(params, "hh", gate * size + k, h) for gate in range(4)
        )
        new[size + k] = sigmoid(f) * c[k] + sigmoid(i) * math.tanh(g)
        new[k] = sigmoid(o) * math.tanh(new[size + k])
    return new


def diagonal_step(params: dict, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    size = len(state)
    z = [sigmoid(row(params, "ih", k, x)) for k in range(size)]
    return np.array([(1 - z[k]) * state[k] + z[k] * row(params, "ih", size + k, x) for k in range(size)])


STEPS = {
    "linear": linear_step,
    "diagonal": diagonal_step,
    "rnn": rnn_step,
    "rnn-relu": rectified_step,
    "gru": gru_step,
    "lstm": lstm_step,
}
GATES = {"linear": 1, "diagonal": 2, "rnn": 1, "rnn-relu": 1, "gru": 3, "lstm": 4}
CARRIED = {"linear": 1, "diagonal": 1, "rnn": 1, "rnn-relu": 1, "gru": 1, "lstm": 2}


def random_params(cell: str, inputs: int, hidden: int, rng: np.random.Generator, layers: int = 1) -> dict:
    """Standard normal weights, divided by √hidden, under torch's names."""
    params = {}
    for layer in range(layers):
        rows, width = GATES[cell] * hidden, inputs if layer == 0 else hidden
        params[f"weight_ih_l{layer}"] = rng.normal(size=(rows, width))
        if cell == "diagonal":  # has no weights from the state
            params[f"bias_ih_l{layer}"] = rng.normal(size=rows) * 0.3
            continue
        params[f"weight_hh_l{layer}"] = rng.normal(size=(rows, hidden)) / math.sqrt(hidden)
        params[f"bias_ih_l{layer}"] = rng.normal(size=rows) * 0.3
        params[f"bias_hh_l{layer}"] = rng.normal(size=rows) * 0.3
    return params


def numerical_jacobian(cell: str, params: dict, x: np.ndarray, state: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences: error about step² + eps/step, 1e-10 here."""
    return _differences(lambda s: STEPS[cell](params, x, s), state, step)


def numerical_input_jacobian(
    cell: str, params: dict, x: np.ndarray, state: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """The same with respect to the input."""
    return _differences(lambda given: STEPS[cell](params, given, state), x, step)


def _differences(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float) -> np.ndarray:
    columns = []
    for k in range(len(at)):
        up, down = at.copy(), at.copy()
        up[k] += step
        down[k] -= step
        columns.append((function(up) - function(down)) / (2 * step))
    return np.array(columns).T


def network_log_prob(cell: str, params: dict, values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(T,) log density of each step of one sequence, (T, p) values with NaN for missing, (T, u) inputs, written out step by step."""
    layers = sum(name.startswith("weight_hh_l") for name in params)
    per_layer = [
        {name[: -len(f"_l{k}")] + "_l0": a for name, a in params.items() if name.endswith(f"_l{k}")}
        for k in range(layers)
    ]
    y = (values - params["value_mean"]) / params["value_scale"]
    u = (inputs - params["input_mean"]) / params["input_scale"]
    dim = y.shape[1]
    states = [np.zeros(CARRIED[cell] * layer["weight_hh_l0"].shape[1]) for layer in per_layer]
    result = np.zeros(len(y))
    for t in range(len(y)):
        lagged = []
        for lag in params["lags"]:
            past = y[t - lag] if t >= lag else np.full(dim, np.nan)
            lagged.append(
                (np.array([0.0 if np.isnan(a) else a for a in past]), np.array([float(not np.isnan(a)) for a in past]))
            )
        clip = lambda array: np.array([3.0 * math.tanh(a / 3.0) for a in array])  # noqa: E731  # shorter than a function here
        seen = np.concatenate([clip(lagged[0][0]), lagged[0][1], clip(u[t])])
        for k, layer in enumerate(per_layer):
            states[k] = STEPS[cell](layer, seen, states[k])
            seen = states[k][: layer["weight_hh_l0"].shape[1]]
        skip = np.concatenate([part for pair in lagged for part in pair] + [u[t]])
        for j in range(dim):
            if np.isnan(y[t, j]):
                continue
            mean = params["mean_bias"][j] + params["mean_weight"][j] @ seen + params["skip_weight"][j] @ skip
            base = -8.0 + math.log1p(math.exp(params["log_sd_bias"][j] + 8.0))
            sd = math.exp(base + 2.0 * math.tanh(params["log_sd_weight"][j] @ seen / 2.0)) * params["value_scale"][j]
            error = values[t, j] - (params["value_mean"][j] + params["value_scale"][j] * mean)
            result[t] += -0.5 * math.log(2 * math.pi) - math.log(sd) - 0.5 * (error / sd) ** 2
    return result


def random_network(
    cell: str,
    dim: int,
    inputs: int,
    hidden: int,
    rng: np.random.Generator,
    layers: int = 1,
    lags: tuple[int, ...] = (1,),
) -> dict:
    """A whole network's parameters, as `network_log_prob` reads them."""
    skip = 2 * dim * len(lags) + inputs
    return random_params(cell, 2 * dim + inputs, hidden, rng, layers) | {
        "mean_weight": rng.normal(size=(dim, hidden)) * 0.3,
        "mean_bias": rng.normal(size=dim) * 0.1,
        "skip_weight": rng.normal(size=(dim, skip)) * 0.2,
        "log_sd_weight": rng.normal(size=(dim, hidden)) * 0.3,
        "log_sd_bias": rng.normal(size=dim) * 0.3 - 0.5,
        "value_mean": rng.normal(size=dim),
        "value_scale": np.exp(rng.normal(size=dim)),
        "input_mean": rng.normal(size=inputs),
        "input_scale": np.exp(rng.normal(size=inputs)),
        "lags": np.array(lags, dtype=np.int64),
    }
