"""Labels by recurrent networks: functions (cell, parameters, sequences) -> log probabilities, in float64 NumPy.

A step's input is the standardised values, softly clipped as in `inference.recurrent`, or the indicators of symbols; 0 where missing;
then whether each column was observed, then the inputs. Parameters have torch's names, those of the backward direction ending in
``_reverse``; ``label_weight`` (K, H or 2H) and ``label_bias`` (K,); ``embedding_weight`` (e, indicators) where there is an embedding; and
``value_mean``, ``value_scale``, ``input_mean``, ``input_scale``; with ``time_unit`` the carried state
fades over the gaps between steps, as in `inference.recurrent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from statewise.cells import CELLS, layer_parameters
from statewise.inference.recurrent import decays, layer_exponent, scaled_inputs, scan, squash, usual_gaps
from statewise.nn.outputs.categorical import CategoricalOutput
from statewise.sequences.sequences import Sequences

Parameters = Mapping[str, np.ndarray]
BACKWARD = "_reverse"


def step_inputs(params: Parameters, seqs: Sequences, symbols: int | None) -> np.ndarray:
    """(rows, d) what the network is given at each step; `symbols`: how many there are, None for numbers."""
    seen = ~np.isnan(seqs.values)
    if symbols is None:
        view = squash((seqs.values - params["value_mean"]) / params["value_scale"])
    else:
        view = CategoricalOutput(seqs.dim, symbols).view(seqs.values)
    inputs = squash(scaled_inputs(params, seqs.inputs, seqs.rows))
    return np.concatenate([np.nan_to_num(view), seen.astype(np.float64), inputs], axis=1)


def _embedded(params: Parameters, x: np.ndarray) -> np.ndarray:
    if "embedding_weight" not in params:
        return x
    weight = params["embedding_weight"]
    return np.concatenate([x[:, : weight.shape[1]] @ weight.T, x[:, weight.shape[1] :]], axis=1)


def step_gaps(params: Parameters, seqs: Sequences) -> np.ndarray | None:
    """(rows,) time since the step before in usual gaps; None where the state does not fade."""
    return usual_gaps(seqs, float(params["time_unit"][0])) if "time_unit" in params else None


def backwards(lengths: np.ndarray) -> np.ndarray:
    """(rows,) the packed rows with each sequence turned round."""
    ends = np.cumsum(lengths)
    return np.repeat(ends + ends - lengths - 1, lengths) - np.arange(int(ends[-1]))


def _directions(params: Parameters, layer: int) -> list[dict[str, np.ndarray]]:
    """The parameters of a layer forwards and, where it has one, backwards."""
    behind = {name.removesuffix(BACKWARD): a for name, a in params.items() if name.endswith(BACKWARD)}
    return [layer_parameters(part, layer) for part in (params, behind) if f"weight_ih_l{layer}" in part]


def _gaps_backwards(gaps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(rows,) in the order of the backward direction, which comes to a step from the one after it."""
    found = np.roll(gaps[backwards(lengths)], 1)
    found[np.cumsum(lengths) - lengths] = 0.0
    return found


@dataclass(frozen=True)
class Run:
    """A layer in one direction: its parameters, its inputs, its states (rows, n) and what they fade by, in the order in which it runs."""

    layer: dict[str, np.ndarray]
    x: np.ndarray
    states: np.ndarray
    fade: np.ndarray | None


def layer_states(
    cell: str, params: Parameters, x: np.ndarray, lengths: np.ndarray, gaps: np.ndarray | None = None
) -> list[list[Run]]:
    """For each layer its runs: forwards and, where it has one, backwards."""
    found, x, turned = [], _embedded(params, x), backwards(lengths)
    times = (gaps, None if gaps is None else _gaps_backwards(gaps, lengths))
    for layer in range(sum(f"weight_ih_l{k}" in params for k in range(len(params)))):
        runs, hidden = [], []
        for own, order, gap in zip(_directions(params, layer), (np.arange(len(x)), turned), times, strict=False):
            states = scan(CELLS[cell], own, x[order], lengths, gap)
            runs.append(Run(own, x[order], states, decays(CELLS[cell], own, gap)))
            hidden.append(CELLS[cell].hidden(states)[order])
        found.append(runs)
        x = np.concatenate(hidden, axis=1)
    return found


def log_probs(
    cell: str,
    params: Parameters,
    x: np.ndarray,
    lengths: np.ndarray,
    pooling: str | None,
    gaps: np.ndarray | None = None,
) -> np.ndarray:
    """(rows, K), or with pooling (N, K), log probabilities of the labels; x (rows, d) as `step_inputs` gives it."""
    top = layer_states(cell, params, x, lengths, gaps)[-1]
    orders = (np.arange(len(x)), backwards(lengths))
    h = [CELLS[cell].hidden(run.states)[order] for run, order in zip(top, orders, strict=False)]
    ends = np.cumsum(lengths)
    if pooling == "last":
        h = [part[at] for part, at in zip(h, (ends - 1, ends - lengths), strict=False)]
    read = np.concatenate(h, axis=1)
    if pooling == "mean":
        read = np.add.reduceat(read, ends - lengths) / lengths[:, None]
    return judged(params, read)


def judged(params: Parameters, read: np.ndarray) -> np.ndarray:
    """Log probabilities (..., K) of the labels, for what is read of the states (..., H) or (..., 2H)."""
    return np.asarray(log_softmax(read @ params["label_weight"].T + params["label_bias"], axis=1))


def step(
    cell: str, params: Parameters, x: np.ndarray, state: list[np.ndarray], gap: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One more step of one sequence, forwards: the hidden state (1, H) and every layer's state after it.

    Args:
        x: (1, d) as `step_inputs` gives it.
        state: for each layer (1, n), the state after the step before.
        gap: time since that step, in usual gaps.
    """
    h, after = _embedded(params, x), []
    for k, before in enumerate(state):
        own = _directions(params, k)[0]
        fade = decays(CELLS[cell], own, np.array([gap])) if "time_unit" in params else None
        after.append(CELLS[cell].step(own, h, before if fade is None else before * fade))
        h = CELLS[cell].hidden(after[-1])
    return h, after


def top_exponent(cell: str, params: Parameters, seqs: Sequences, x: np.ndarray) -> float:
    """λ₁ of the carried state along the data, the largest over layers and directions; see `inference.recurrent.top_exponent`."""
    return max(
        layer_exponent(CELLS[cell], run.layer, run.x, run.states, seqs, run.fade)
        for runs in layer_states(cell, params, x, seqs.lengths, step_gaps(params, seqs))
        for run in runs
    )
