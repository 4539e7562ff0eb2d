"""Recurrent networks as densities: functions (cell, parameters, sequences) -> arrays, in float64 NumPy.

What a network sees at step t, all in standardised units, missing values filled with 0 (their column's mean):

* the cell: squash(y[t−1]), whether each entry of y[t−1] was observed, squash(u[t]), with squash(a) = 3 tanh(a/3), nearly the identity
  within two standard deviations, so that a value far outside the training data cannot drive the state where it has never been;
* the head: the hidden state after that, and the skip features: y[t−l] and whether it was observed for every lag l, and u[t].

y stands for what the output lets the network see of the values (`nn.outputs`): the values, the log of counts, indicators of symbols.
With ``time_unit`` among the parameters the carried state fades over the gaps between steps (`nn.stepwise`).

Before the first step there is nothing: values 0, observed 0. So the first observation has a density too.

Parameters are a dict with the network's own names (`cells.base`, `nn.head`) and

====================================  =======================================================
``value_mean``, ``value_scale``       (p,) standardisation of the values
``input_mean``, ``input_scale``       (u,) standardisation of the inputs
``lags``                              (L,) lags of the skip features, increasing from 1
``time_unit``                         (1,) the usual gap between steps, in the times' unit (seconds for dates); only where the state decays
====================================  =======================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from statewise.cells import CELLS, Cell, layer_count, layer_parameters
from statewise.nn import head
from statewise.nn.outputs import NUMPY, OUTPUTS, Law, Output
from statewise.sequences.calendar import future_times
from statewise.sequences.sequences import Sequences

Parameters = Mapping[str, np.ndarray]

_SQUASH = 3.0
_BURN_IN = 100


@dataclass(frozen=True)
class Features:
    """What the network sees: `cell` (rows, v + p + u), `skip` (rows, (v + p)L + u), `values` (rows, v), the standardised view of the values,
    NaN where missing, and `gaps` (rows,), the time since the step before in usual gaps (0 at the beginning), or None."""

    cell: np.ndarray
    skip: np.ndarray
    values: np.ndarray
    gaps: np.ndarray | None = None


# --- what the network sees --------------------------------------------------------------------------------------------


def features(params: Parameters, seqs: Sequences, output: Output | None = None) -> Features:
    """The network's view of sequences; a row depends on earlier values and on inputs up to its own step only."""
    values = view(params, seqs.values, output_of(params, output))
    inputs = scaled_inputs(params, seqs.inputs, len(values))
    step = np.arange(len(values)) - np.repeat(seqs.offsets[:-1], seqs.lengths)
    past = [_lagged(values, step, lag) for lag in params["lags"].tolist()]
    gaps = usual_gaps(seqs, float(params["time_unit"][0])) if "time_unit" in params else None
    return Features(cell_view(past[0], inputs, seqs.dim), skip_view(past, inputs, seqs.dim), values, gaps)


def output_of(params: Parameters, output: Output | None) -> Output:
    return OUTPUTS["gaussian"](len(params["value_mean"])) if output is None else output


def view(params: Parameters, values: np.ndarray, output: Output) -> np.ndarray:
    """(..., v) the standardised view of values (..., p); NaN where missing."""
    return (output.view(values) - params["value_mean"]) / params["value_scale"]


def targets(params: Parameters, values: np.ndarray, output: Output) -> np.ndarray:
    """(..., p) the values that the output's law is about, 0 where missing: standardised, or counts and codes as they are."""
    return np.nan_to_num(view(params, values, output) if output.continuous else values)


def usual_gaps(seqs: Sequences, unit: float = 1.0) -> np.ndarray:
    """(rows,) time since the step before, in `unit`; 0 at the beginning of a sequence, and 1 elsewhere where there are no times."""
    begins = np.zeros(seqs.rows, dtype=bool)
    begins[seqs.offsets[:-1]] = True
    if seqs.times is None:
        return np.where(begins, 0.0, 1.0)
    return np.where(begins, 0.0, _elapsed(np.diff(seqs.times, prepend=seqs.times[:1])) / unit)


def future_gaps(params: Parameters, seqs: Sequences, steps: int) -> np.ndarray | None:
    """(N, steps) gaps before the steps to come, in usual gaps; None where the state does not decay, or where they are as usual."""
    times = future_times(seqs, steps) if "time_unit" in params and seqs.times is not None else None
    if times is None or seqs.times is None:
        return None
    ends = seqs.times[seqs.offsets[1:] - 1]
    return _elapsed(np.diff(times, axis=1, prepend=ends[:, None])) / float(params["time_unit"][0])


def _elapsed(gaps: np.ndarray) -> np.ndarray:
    """Differences of times as numbers: seconds between dates."""
    dates = np.issubdtype(gaps.dtype, np.timedelta64)
    return gaps / np.timedelta64(1, "s") if dates else np.asarray(gaps, dtype=np.float64)


def scaled_inputs(params: Parameters, inputs: np.ndarray | None, rows: int) -> np.ndarray:
    """(rows, u) standardised inputs; u is 0 where there are none."""
    if inputs is None:
        return np.zeros((rows, 0))
    return (inputs - params["input_mean"]) / params["input_scale"]


def _lagged(values: np.ndarray, step: np.ndarray, lag: int) -> np.ndarray:
    """Each row's value `lag` steps before; NaN before the beginning of its sequence."""
    result = np.full_like(values, np.nan)
    known = np.flatnonzero(step >= lag)
    result[known] = values[known - lag]
    return result


def squash(a: np.ndarray) -> np.ndarray:
    """3 tanh(a/3)."""
    return _SQUASH * np.tanh(a / _SQUASH)


def _filled(values: np.ndarray, dim: int) -> list[np.ndarray]:
    """A view (..., v) with 0 for NaN, and (..., p) 1 where a column was observed."""
    seen = ~np.isnan(values)
    return [np.where(seen, values, 0.0), seen[..., :: values.shape[-1] // dim].astype(np.float64)]


def cell_view(last: np.ndarray, inputs: np.ndarray, dim: int) -> np.ndarray:
    value, seen = _filled(last, dim)
    return np.concatenate([squash(value), seen, squash(inputs)], axis=-1)


def skip_view(past: list[np.ndarray], inputs: np.ndarray, dim: int) -> np.ndarray:
    return np.concatenate([part for values in past for part in _filled(values, dim)] + [inputs], axis=-1)


# --- states and moments ------------------------------------------------------------------------------------------------


def decays(cell: Cell, layer: Parameters, gaps: np.ndarray | None) -> np.ndarray | None:
    """(..., n) what the carried state is multiplied by over the gaps (...): exp(−gap / τ); None where the layer has no time constants."""
    if gaps is None or "log_time_constant_l0" not in layer:
        return None
    fade = np.exp(-gaps[..., None] * np.exp(-layer["log_time_constant_l0"]))
    return np.concatenate([fade] * cell.carried, axis=-1)


def scan(
    cell: Cell, layer: Parameters, x: np.ndarray, lengths: np.ndarray, gaps: np.ndarray | None = None
) -> np.ndarray:
    """(rows, n) the state after each step of one layer, from zero at the beginning of every sequence.

    x is packed (rows, d), gaps (rows,) in usual gaps. All sequences advance side by side; those that have ended drop out.
    """
    order = np.argsort(-lengths, kind="stable")
    start = (np.cumsum(lengths) - lengths)[order]
    running = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(int(lengths.max())), side="right")
    states = np.empty((len(x), cell.state_size(layer)))
    state, fade = np.zeros((len(lengths), states.shape[1])), decays(cell, layer, gaps)
    for t, count in enumerate(running.tolist()):
        rows = start[:count] + t
        before = state[:count] if fade is None else state[:count] * fade[rows]
        state = cell.step(layer, x[rows], before)
        states[rows] = state
    return states


def states(
    cell: str, params: Parameters, x: np.ndarray, lengths: np.ndarray, gaps: np.ndarray | None = None
) -> list[np.ndarray]:
    """For each layer, (rows, n) the state after each step, for the cell features x (rows, d) and gaps (rows,)."""
    found: list[np.ndarray] = []
    for layer in range(layer_count(params)):
        found.append(scan(CELLS[cell], layer_parameters(params, layer), x, lengths, gaps))
        x = CELLS[cell].hidden(found[-1])
    return found


@dataclass(frozen=True)
class Read:
    """One pass over sequences: what the network saw, and for each layer (rows, n) the state after each step. From any row a forecast can begin."""

    seen: Features
    layers: list[np.ndarray]


def read(cell: str, params: Parameters, seqs: Sequences, output: Output | None = None) -> Read:
    """The sequences, read once."""
    seen = features(params, seqs, output)
    return Read(seen, states(cell, params, seen.cell, seqs.lengths, seen.gaps))


def laws(cell: str, params: Parameters, seqs: Sequences, output: Output, past: Read | None = None) -> Law:
    """The law of each row given the rows before it; of a continuous output, of standardised values. `past` if they have been read."""
    past = read(cell, params, seqs, output) if past is None else past
    return head.law(params, CELLS[cell].hidden(past.layers[-1]), past.seen.skip)


def moments(
    cell: str, params: Parameters, seqs: Sequences, output: Output | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, p) one-step-ahead means and variances, in the data's units."""
    output = output_of(params, output)
    law = laws(cell, params, seqs, output)
    return _in_units(params, output, law)


def _in_units(params: Parameters, output: Output, law: Law) -> tuple[np.ndarray, np.ndarray]:
    if not output.continuous:
        return output.mean(law), output.variance(law)
    scale = params["value_scale"]
    return params["value_mean"] + scale * output.mean(law), scale**2 * output.variance(law)


def predictions(
    cell: str, params: Parameters, seqs: Sequences, output: Output
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, p) one-step-ahead means, variances and normal pseudo-residuals, NaN where missing."""
    law = laws(cell, params, seqs, output)
    residuals = output.residuals(law, targets(params, seqs.values, output))
    return *_in_units(params, output, law), np.where(np.isnan(seqs.values), np.nan, residuals)


def log_prob_steps(
    cell: str, params: Parameters, seqs: Sequences, output: Output | None = None, past: Read | None = None
) -> np.ndarray:
    """(rows,) log density of the observed entries of each row given the rows before it, in the data's units; 0 where nothing was observed."""
    output = output_of(params, output)
    return _row_densities(params, laws(cell, params, seqs, output, past), seqs.values, output)


def _row_densities(params: Parameters, law: Law, values: np.ndarray, output: Output) -> np.ndarray:
    """(rows,) of values (rows, p)."""
    seen = (~np.isnan(values)).astype(np.float64)
    density = np.asarray(output.log_density(NUMPY, law, targets(params, values, output), seen))
    if output.continuous:
        density = density - seen @ np.log(params["value_scale"])
    return np.where(seen.any(axis=1), density, 0.0)


def row_density(params: Parameters, law: Law, row: np.ndarray, output: Output) -> float:
    """Log density of one row (1, p) under its law; 0 if nothing was observed."""
    return float(_row_densities(params, law, row, output)[0])


# --- memory ------------------------------------------------------------------------------------------------------------


def top_exponent(cell: str, params: Parameters, seqs: Sequences, output: Output | None = None) -> float:
    """λ₁ of the carried state along the data: the mean log growth per step of a perturbation of the state.

    λ₁ = lim (1/T) log |J[T] … J[1] v|, J[t] = ∂s[t]/∂s[t−1] with the data held fixed (teacher forcing). In a stack the Jacobian is
    block triangular, so λ₁ is the largest of the layers' own. Of each sequence the first quarter, at most 100 steps, is
    left out while the perturbation turns into the leading direction. −inf where the perturbation dies exactly.

    Source: theory of products of Jacobians, Oseledets (1968); the rescaling is Benettin et al. (1980) with one vector.
    """
    seen = features(params, seqs, output)
    x, exponents = seen.cell, []
    for layer, after in enumerate(states(cell, params, x, seqs.lengths, seen.gaps)):
        own = layer_parameters(params, layer)
        fade = decays(CELLS[cell], own, seen.gaps)
        exponents.append(layer_exponent(CELLS[cell], own, x, after, seqs, fade))
        x = CELLS[cell].hidden(after)
    return max(exponents)


def layer_exponent(
    cell: Cell,
    layer: Parameters,
    x: np.ndarray,
    after: np.ndarray,
    seqs: Sequences,
    fade: np.ndarray | None = None,
) -> float:
    """λ₁ of one layer's state, `after` (rows, n), under the inputs x (rows, d); see `top_exponent`."""
    total, steps = 0.0, 0
    begin = np.random.default_rng(0).standard_normal(after.shape[1])
    for start, end in zip(seqs.offsets[:-1].tolist(), seqs.offsets[1:].tolist(), strict=True):
        before = np.concatenate([np.zeros((1, after.shape[1])), after[start : end - 1]])
        if fade is not None:
            before = before * fade[start:end]
        skipped = min((end - start) // 4, _BURN_IN)
        vector = begin / np.linalg.norm(begin)
        for t in range(end - start):
            if fade is not None:
                vector = vector * fade[start + t]
            vector = cell.jacobian(layer, x[start + t], before[t]) @ vector
            size = float(np.linalg.norm(vector))
            if size == 0.0:
                return -np.inf
            vector /= size
            if t >= skipped:
                total, steps = total + float(np.log(size)), steps + 1
    return total / steps
