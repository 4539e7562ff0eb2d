"""Forecasts of recurrent networks by simulation: paths drawn step by step, from the state at any row of sequences that have been read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise._core.errors import NumericalError
from statewise.cells import CELLS, layer_count, layer_parameters
from statewise.inference.recurrent import (
    Parameters,
    Read,
    cell_view,
    decays,
    output_of,
    read,
    scaled_inputs,
    skip_view,
    view,
)
from statewise.nn import head
from statewise.nn.outputs import Law, Output
from statewise.sequences.sequences import Sequences

_MOST_PATHS = 2000  # simulated side by side: more do not fit a processor's cache and take four times as long
PATHS = 400  # of a forecast


@dataclass(frozen=True)
class Ends:
    """Where forecasts begin: for each the row of its last known step, and the first row of its sequence."""

    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, seqs: Sequences) -> Ends:
        """The ends of all sequences."""
        return cls(seqs.offsets[1:] - 1, seqs.offsets[:-1])


def forecast_paths(
    cell: str,
    params: Parameters,
    seqs: Sequences,
    steps: int,
    inputs: np.ndarray | None,
    count: int,
    rng: np.random.Generator,
    output: Output | None = None,
    gaps: np.ndarray | None = None,
) -> np.ndarray:
    """(count, N, steps, p) sample paths after the end of each sequence; see `paths_after`."""
    past = read(cell, params, seqs, output)
    return paths_after(cell, params, past, Ends.of(seqs), steps, inputs, count, rng, output, gaps)


def paths_after(
    cell: str,
    params: Parameters,
    past: Read,
    ends: Ends,
    steps: int,
    inputs: np.ndarray | None,
    count: int,
    rng: np.random.Generator,
    output: Output | None = None,
    gaps: np.ndarray | None = None,
) -> np.ndarray:
    """(count, M, steps, p) sample paths after each of M ends, in the data's units; inputs (M, steps, u), gaps (M, steps).

    Every end meets the same random numbers, so a forecast does not depend on which others are there.
    """
    output = output_of(params, output)
    noise = rng.standard_normal((steps, count, output.noise_size))
    last, tails = begin_at(params, past, ends)
    paths = np.empty((count, len(ends.rows), steps, output.dim))
    size = max(1, _MOST_PATHS // count)
    for begin in range(0, len(ends.rows), size):
        block = slice(begin, begin + size)
        width = len(ends.rows[block])
        given = None if inputs is None else np.repeat(inputs[block], count, axis=0)
        drawn = simulate(
            cell,
            params,
            [np.repeat(layer[block], count, axis=0) for layer in last],
            np.repeat(tails[block], count, axis=0),
            np.tile(noise, (1, width, 1)),
            given,
            output,
            None if gaps is None else np.repeat(gaps[block], count, axis=0),
        )
        paths[:, block] = np.moveaxis(drawn.reshape(width, count, steps, -1), 1, 0)
    return paths


def begin_at(params: Parameters, past: Read, ends: Ends) -> tuple[list[np.ndarray], np.ndarray]:
    """At each end: every layer's state (M, n), and the view of the last values (M, largest lag, v), NaN before the beginning."""
    size = int(params["lags"].max())
    rows = ends.rows[:, None] + np.arange(1 - size, 1)
    known = rows >= ends.starts[:, None]
    tails = np.where(known[..., None], past.seen.values[np.where(known, rows, 0)], np.nan)
    return [layer[ends.rows] for layer in past.layers], tails


def sample_paths(
    cell: str,
    params: Parameters,
    length: int,
    count: int,
    inputs: np.ndarray | None,
    rng: np.random.Generator,
    output: Output | None = None,
) -> np.ndarray:
    """(count, length, p) sequences drawn from the beginning, in the data's units, at usual gaps; inputs (count, length, u)."""
    output = output_of(params, output)
    begin, past = beginning(cell, params, count)
    noise = rng.standard_normal((length, count, output.noise_size))
    return simulate(cell, params, begin, past, noise, inputs, output)


def beginning(cell: str, params: Parameters, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """For `count` sequences that begin: each layer's state (count, n), and the view of what was before (count, largest lag, v)."""
    layers = (layer_parameters(params, layer) for layer in range(layer_count(params)))
    past = np.full((count, int(params["lags"].max()), len(params["value_mean"])), np.nan)
    return [np.zeros((count, CELLS[cell].state_size(layer))) for layer in layers], past


def advance(
    cell: str,
    params: Parameters,
    state: list[np.ndarray],
    past: np.ndarray,
    inputs: np.ndarray | None,
    output: Output,
    gap: np.ndarray,
) -> tuple[Law, list[np.ndarray]]:
    """The law of the next row of sequences, and each layer's state after the step.

    Args:
        state: for each layer, (count, n) the state after the step before.
        past: (count, at least the largest lag, v) the standardised view of the last values, NaN where missing.
        inputs: (count, 1, u) of the next step in the data's units, or None.
        gap: (count, 1) time since the step before, in usual gaps.
    """
    u = scaled_inputs(params, None if inputs is None else inputs[:, 0], len(past))
    views = [past[:, past.shape[1] - lag] for lag in params["lags"].tolist()]
    h, after = cell_view(views[0], u, output.dim), []
    for k, before in enumerate(state):
        layer = layer_parameters(params, k)
        fade = decays(CELLS[cell], layer, gap[:, 0])
        after.append(CELLS[cell].step(layer, h, before if fade is None else before * fade))
        h = CELLS[cell].hidden(after[-1])
    return head.law(params, h, skip_view(views, u, output.dim)), after


def simulate(
    cell: str,
    params: Parameters,
    begin: list[np.ndarray],
    past: np.ndarray,
    noise: np.ndarray,
    inputs: np.ndarray | None,
    output: Output | None = None,
    gaps: np.ndarray | None = None,
) -> np.ndarray:
    """(paths, steps, p) continuations in the data's units.

    Args:
        begin: for each layer, (paths, n) the state after the last known step.
        past: (paths, largest lag, v) the standardised view of the last known values, NaN where missing.
        noise: (steps, paths, noise_size) standard normal numbers.
        inputs: (paths, steps, u) in the data's units, or None.
        output: what the head means; normal unless given.
        gaps: (paths, steps) in usual gaps; 1 unless given.

    Raises:
        NumericalError: a path left the range of floating-point numbers.
    """
    output = output_of(params, output)
    known, steps = past.shape[1], len(noise)
    gaps = np.ones((len(past), steps)) if gaps is None else gaps
    line = np.concatenate([past, np.empty((len(past), steps, past.shape[2]))], axis=1)
    drawn = np.empty((len(past), steps, output.dim))
    state = list(begin)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            given = None if inputs is None else inputs[:, t : t + 1]
            law, state = advance(cell, params, state, line[:, : known + t], given, output, gaps[:, t : t + 1])
            drawn[:, t] = output.draw(law, noise[t])
            line[:, known + t] = drawn[:, t] if output.continuous else view(params, drawn[:, t], output)
        result = params["value_mean"] + params["value_scale"] * drawn if output.continuous else drawn
    if not np.isfinite(result).all():
        raise NumericalError(
            f"a simulated path left the range of floating-point numbers within {steps} steps: the fitted dynamics are explosive; "
            "ask for fewer steps, or fit to differences of the data"
        )
    return result
