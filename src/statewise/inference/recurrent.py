"""Recurrent networks as densities: functions (cell, parameters, sequences) -> arrays, in float64 NumPy.

What a network sees at step t, all in standardised units, missing values filled with 0 (their column's mean):

* the cell: squash(y[t−1]), whether each entry of y[t−1] was observed, squash(u[t]), with squash(a) = 3 tanh(a/3), nearly the identity
  within two standard deviations, so that a value far outside the training data cannot drive the state where it has never been;
* the head: the hidden state after that, and the skip features: y[t−l] and whether it was observed for every lag l, and u[t].

Before the first step there is nothing: values 0, observed 0. So the first observation has a density too.

Parameters are a dict with the network's own names (`cells.base`, `nn.head`) and

====================================  =======================================================
``value_mean``, ``value_scale``       (p,) standardisation of the values
``input_mean``, ``input_scale``       (u,) standardisation of the inputs
``lags``                              (L,) lags of the skip features, increasing from 1
====================================  =======================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from statewise._core.errors import NumericalError
from statewise.cells import CELLS, Cell, layer_count, layer_parameters
from statewise.nn.head import gaussian_head
from statewise.sequences.sequences import Sequences

Parameters = Mapping[str, np.ndarray]

_LOG_2PI = float(np.log(2 * np.pi))
_SQUASH = 3.0
_MOST_PATHS = 2000  # simulated side by side: more do not fit a processor's cache and take four times as long
_BURN_IN = 100


@dataclass(frozen=True)
class Features:
    """What the network sees: `cell` (rows, 2p + u) and `skip` (rows, 2pL + u), and `values` (rows, p) standardised, NaN where missing."""

    cell: np.ndarray
    skip: np.ndarray
    values: np.ndarray


# --- what the network sees --------------------------------------------------------------------------------------------


def features(params: Parameters, seqs: Sequences) -> Features:
    """The network's view of sequences; a row depends on earlier values and on inputs up to its own step only."""
    values = (seqs.values - params["value_mean"]) / params["value_scale"]
    inputs = _scaled_inputs(params, seqs.inputs, len(values))
    step = np.arange(len(values)) - np.repeat(seqs.offsets[:-1], seqs.lengths)
    past = [_lagged(values, step, lag) for lag in params["lags"].tolist()]
    return Features(_cell_view(past[0], inputs), _skip_view(past, inputs), values)


def _scaled_inputs(params: Parameters, inputs: np.ndarray | None, rows: int) -> np.ndarray:
    if inputs is None:
        return np.zeros((rows, 0))
    return (inputs - params["input_mean"]) / params["input_scale"]


def _lagged(values: np.ndarray, step: np.ndarray, lag: int) -> np.ndarray:
    """Each row's value `lag` steps before; NaN before the beginning of its sequence."""
    result = np.full_like(values, np.nan)
    known = np.flatnonzero(step >= lag)
    result[known] = values[known - lag]
    return result


def _squash(a: np.ndarray) -> np.ndarray:
    return _SQUASH * np.tanh(a / _SQUASH)


def _filled(values: np.ndarray) -> list[np.ndarray]:
    """The values with 0 for NaN, and 1 where they were observed."""
    seen = ~np.isnan(values)
    return [np.where(seen, values, 0.0), seen.astype(np.float64)]


def _cell_view(last: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    value, seen = _filled(last)
    return np.concatenate([_squash(value), seen, _squash(inputs)], axis=-1)


def _skip_view(past: list[np.ndarray], inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([part for values in past for part in _filled(values)] + [inputs], axis=-1)


# --- states and moments ------------------------------------------------------------------------------------------------


def scan(cell: Cell, layer: Parameters, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(rows, n) the state after each step of one layer, from zero at the beginning of every sequence.

    x is packed (rows, d). All sequences advance side by side; those that have ended drop out.
    """
    order = np.argsort(-lengths, kind="stable")
    start = (np.cumsum(lengths) - lengths)[order]
    running = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(int(lengths.max())), side="right")
    states = np.empty((len(x), cell.state_size(layer)))
    state = np.zeros((len(lengths), states.shape[1]))
    for t, count in enumerate(running.tolist()):
        rows = start[:count] + t
        state = cell.step(layer, x[rows], state[:count])
        states[rows] = state
    return states


def states(cell: str, params: Parameters, x: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """For each layer, (rows, n) the state after each step, for the cell features x (rows, d)."""
    found: list[np.ndarray] = []
    for layer in range(layer_count(params)):
        found.append(scan(CELLS[cell], layer_parameters(params, layer), x, lengths))
        x = CELLS[cell].hidden(found[-1])
    return found


def _standard_moments(cell: str, params: Parameters, seqs: Sequences) -> tuple[Features, np.ndarray, np.ndarray]:
    seen = features(params, seqs)
    top = states(cell, params, seen.cell, seqs.lengths)[-1]
    mean, log_sd = gaussian_head(params, CELLS[cell].hidden(top), seen.skip)
    return seen, mean, log_sd


def moments(cell: str, params: Parameters, seqs: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """(rows, p) one-step-ahead means and variances, in the data's units."""
    _, mean, log_sd = _standard_moments(cell, params, seqs)
    scale = params["value_scale"]
    return params["value_mean"] + scale * mean, (scale * np.exp(log_sd)) ** 2


def log_prob_steps(cell: str, params: Parameters, seqs: Sequences) -> np.ndarray:
    """(rows,) Σ over the observed entries of log N(y; mean, sd²), in the data's units; 0 where nothing was observed."""
    seen, mean, log_sd = _standard_moments(cell, params, seqs)
    z = (seen.values - mean) * np.exp(-log_sd)
    density = -0.5 * _LOG_2PI - log_sd - 0.5 * z**2 - np.log(params["value_scale"])
    return np.where(np.isnan(seen.values), 0.0, density).sum(axis=1)


# --- simulation --------------------------------------------------------------------------------------------------------


def forecast_paths(
    cell: str,
    params: Parameters,
    seqs: Sequences,
    steps: int,
    inputs: np.ndarray | None,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(count, N, steps, p) sample paths after the end of each sequence, in the data's units; inputs (N, steps, u).

    Every sequence meets the same random numbers, so a sequence's forecast does not depend on which others are there.
    """
    noise = rng.standard_normal((steps, count, seqs.dim))
    seen = features(params, seqs)
    ends = seqs.offsets[1:] - 1
    last = [layer[ends] for layer in states(cell, params, seen.cell, seqs.lengths)]
    past = _tails(seen.values, seqs, int(params["lags"].max()))
    paths = np.empty((count, len(seqs), steps, seqs.dim))
    size = max(1, _MOST_PATHS // count)
    for begin in range(0, len(seqs), size):
        block = slice(begin, begin + size)
        width = len(ends[block])
        given = None if inputs is None else np.repeat(inputs[block], count, axis=0)
        drawn = simulate(
            cell,
            params,
            [np.repeat(layer[block], count, axis=0) for layer in last],
            np.repeat(past[block], count, axis=0),
            np.tile(noise, (1, width, 1)),
            given,
        )
        paths[:, block] = np.moveaxis(drawn.reshape(width, count, steps, -1), 1, 0)
    return paths


def _tails(values: np.ndarray, seqs: Sequences, size: int) -> np.ndarray:
    """(N, size, p) the last values of each sequence, NaN before its beginning."""
    tails = np.full((len(seqs), size, values.shape[1]), np.nan)
    for i, (start, end) in enumerate(zip(seqs.offsets[:-1], seqs.offsets[1:], strict=True)):
        kept = min(size, int(end - start))
        tails[i, size - kept :] = values[end - kept : end]
    return tails


def sample_paths(
    cell: str, params: Parameters, length: int, count: int, inputs: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """(count, length, p) sequences drawn from the beginning, in the data's units; inputs (count, length, u)."""
    dim = len(params["value_mean"])
    layers = [layer_parameters(params, layer) for layer in range(layer_count(params))]
    begin = [np.zeros((count, CELLS[cell].state_size(layer))) for layer in layers]
    past = np.full((count, int(params["lags"].max()), dim), np.nan)
    return simulate(cell, params, begin, past, rng.standard_normal((length, count, dim)), inputs)


def simulate(
    cell: str,
    params: Parameters,
    begin: list[np.ndarray],
    past: np.ndarray,
    noise: np.ndarray,
    inputs: np.ndarray | None,
) -> np.ndarray:
    """(paths, steps, p) continuations in the data's units.

    Args:
        begin: for each layer, (paths, n) the state after the last known step.
        past: (paths, largest lag, p) the last known values, standardised, NaN where missing.
        noise: (steps, paths, p) standard normal numbers.
        inputs: (paths, steps, u) in the data's units, or None.

    Raises:
        NumericalError: a path left the range of floating-point numbers.
    """
    known, steps = past.shape[1], len(noise)
    lags = params["lags"].tolist()
    layers = [layer_parameters(params, layer) for layer in range(layer_count(params))]
    line = np.concatenate([past, np.empty((len(past), steps, past.shape[2]))], axis=1)
    state = list(begin)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            u = _scaled_inputs(params, None if inputs is None else inputs[:, t], len(past))
            views = [line[:, known + t - lag] for lag in lags]
            h = _cell_view(views[0], u)
            for k, layer in enumerate(layers):
                state[k] = CELLS[cell].step(layer, h, state[k])
                h = CELLS[cell].hidden(state[k])
            mean, log_sd = gaussian_head(params, h, _skip_view(views, u))
            line[:, known + t] = mean + np.exp(log_sd) * noise[t]
        result = params["value_mean"] + params["value_scale"] * line[:, known:]
    if not np.isfinite(result).all():
        raise NumericalError(
            f"a simulated path left the range of floating-point numbers within {steps} steps: the fitted dynamics are explosive; "
            "ask for fewer steps, or fit to differences of the data"
        )
    return result


# --- memory ------------------------------------------------------------------------------------------------------------


def top_exponent(cell: str, params: Parameters, seqs: Sequences) -> float:
    """λ₁ of the carried state along the data: the mean log growth per step of a perturbation of the state.

    λ₁ = lim (1/T) log |J[T] … J[1] v|, J[t] = ∂s[t]/∂s[t−1] with the data held fixed (teacher forcing). In a stack the Jacobian is
    block triangular, so λ₁ is the largest of the layers' own. Of each sequence the first quarter, at most 100 steps, is
    left out while the perturbation turns into the leading direction. −inf where the perturbation dies exactly.

    Source: theory of products of Jacobians, Oseledets (1968); the rescaling is Benettin et al. (1980) with one vector.
    """
    x = features(params, seqs).cell
    exponents = []
    for layer, after in enumerate(states(cell, params, x, seqs.lengths)):
        exponents.append(_layer_exponent(CELLS[cell], layer_parameters(params, layer), x, after, seqs))
        x = CELLS[cell].hidden(after)
    return max(exponents)


def _layer_exponent(cell: Cell, layer: Parameters, x: np.ndarray, after: np.ndarray, seqs: Sequences) -> float:
    total, steps = 0.0, 0
    begin = np.random.default_rng(0).standard_normal(after.shape[1])
    for start, end in zip(seqs.offsets[:-1].tolist(), seqs.offsets[1:].tolist(), strict=True):
        before = np.concatenate([np.zeros((1, after.shape[1])), after[start : end - 1]])
        skipped = min((end - start) // 4, _BURN_IN)
        vector = begin / np.linalg.norm(begin)
        for t in range(end - start):
            vector = cell.jacobian(layer, x[start + t], before[t]) @ vector
            size = float(np.linalg.norm(vector))
            if size == 0.0:
                return -np.inf
            vector /= size
            if t >= skipped:
                total, steps = total + float(np.log(size)), steps + 1
    return total / steps
