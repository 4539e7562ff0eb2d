"""What a linear-Gaussian start tells the network that begins there, row by row, and how the two go on together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from statewise.cells import CELLS, layer_count, layer_parameters
from statewise.inference import filtering
from statewise.inference.recurrent import squash
from statewise.inference.system import System, weighted
from statewise.nn.classical_start import SWING
from statewise.sequences.sequences import Sequences

LETTERS = ("A", "C", "Q", "R", "S", "b", "d", "B", "D", "m0", "P0", "Pinf")


@dataclass(frozen=True)
class Scaling:
    """(G, …) means and standard deviations of the values and inputs, for each group of sequences that share a classical model."""

    mean: np.ndarray
    scale: np.ndarray
    input_mean: np.ndarray
    input_scale: np.ndarray


def stacked(systems: Sequence[System]) -> dict[str, np.ndarray]:
    """The parts of some systems with one axis in front."""
    return {letter: np.stack([getattr(sys, letter) for sys in systems]) for letter in LETTERS}


def unstacked(arrays: Mapping[str, np.ndarray], prefix: str = "") -> list[System]:
    """The systems of `stacked`."""
    count = len(arrays[f"{prefix}A"])
    return [System(*(arrays[f"{prefix}{letter}"][g] for letter in LETTERS)) for g in range(count)]


def with_inputs(sys: System, width: int) -> System:
    """The same system with both ways in for `width` inputs."""
    B = sys.B if sys.B.shape[1] == width else np.zeros((sys.n, width))
    D = sys.D if sys.D.shape[1] == width else np.zeros((sys.p, width))
    return replace(sys, B=B, D=D)


def gaussian_rows(
    systems: Sequence[System], group: np.ndarray, scaling: Scaling, seqs: Sequences
) -> dict[str, np.ndarray]:
    """Arrays by name, packed over rows: what `GaussianPath` and the units see. `group` (N,) says whose system a sequence has."""
    parts = []
    for i, one in enumerate(seqs):
        g = int(group[i])
        parts.append(_rows_of(systems[g], one) | {"group": np.full(one.rows, g)})
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows["x"] = _view(rows, scaling, seqs)
    return rows


def _rows_of(sys: System, one: Sequences) -> dict[str, np.ndarray]:
    past = filtering.run_filter(sys, one)
    mean, _ = filtering.observation_moments(sys, past.mean_pred, past.cov_pred, one.inputs)
    seen = (~np.isnan(one.values)).astype(float)
    F = sys.C @ past.cov_pred @ sys.C.T + sys.R
    held = np.atleast_1d(past.diffuse.any(axis=1))
    own = seen[:, :, None] * F * seen[:, None, :] + (1 - seen)[:, :, None] * np.eye(sys.p)
    own[held] = np.eye(sys.p)
    cross = (sys.A @ past.cov_pred @ sys.C.T + sys.S) * seen[:, None, :]
    root = np.linalg.cholesky(own)
    return {
        "y": np.where(seen > 0, one.values, 0.0),
        "seen": seen,
        "u": np.zeros((one.rows, 0)) if one.inputs is None else one.inputs,
        "gain": np.linalg.solve(own, cross.swapaxes(1, 2)).swapaxes(1, 2),
        "root": root,
        "log_det": np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1),
        "state": past.mean_pred,
        "next_state": np.concatenate([past.mean_pred[1:], past.mean_next]),
        "held": held.astype(float),
        "constant": past.log_prob,
        "mean": mean,
        "sd": np.where(held[:, None], 0.0, np.sqrt(np.einsum("tpp->tp", F))),
    }


def _view(rows: dict[str, np.ndarray], scaling: Scaling, seqs: Sequences) -> np.ndarray:
    """(rows, 4p + u) what the units see of each step; see `unit_view`."""
    first = seqs.offsets[:-1]

    def before(a: np.ndarray) -> np.ndarray:
        moved = np.concatenate([np.zeros_like(a[:1]), a[:-1]])
        moved[first] = 0.0
        return moved

    known = rows["seen"] * (rows["sd"] > 0)
    sd = np.where(rows["sd"] > 0, rows["sd"], 1.0)
    z = known * (rows["y"] - rows["mean"]) / sd
    return unit_view(
        before(rows["y"]), before(rows["seen"]), before(z), rows["mean"], rows["sd"], rows["u"], rows["group"], scaling
    )


def unit_view(
    y: np.ndarray,
    seen: np.ndarray,
    z: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    u: np.ndarray,
    group: np.ndarray,
    scaling: Scaling,
) -> np.ndarray:
    """Softly clipped: the last value, whether it was seen, the last standardised innovation, the change predicted now, and the inputs.

    y, seen, z belong to the step before; mean, sd, u to this one; sd is 0 where there is no prediction yet.
    """
    level = seen * (y - scaling.mean[group]) / scaling.scale[group]
    change = seen * (sd > 0) * (mean - y) / np.where(sd > 0, sd, 1.0)
    inputs = (u - scaling.input_mean[group]) / scaling.input_scale[group]
    return np.concatenate([squash(level), seen, squash(z), squash(change), squash(inputs)], axis=-1)


# --- going on -------------------------------------------------------------------------------------------------------


@dataclass
class Ahead:
    """Where a set of paths of one sequence stands: of the classical model and of the trained path, and what the units saw last."""

    state: np.ndarray  # (M, n) the classical model's own prediction
    trained: np.ndarray  # (M, n) the trained path's
    cov: np.ndarray  # (n, n)
    units: list[np.ndarray]  # for each layer, (M, ·)
    y: np.ndarray
    seen: np.ndarray
    z: np.ndarray


def simulate(
    sys: System,
    now: Mapping[str, np.ndarray],
    cell: str,
    arrays: Mapping[str, np.ndarray],
    scaling: Scaling,
    group: int,
    at: Ahead,
    noise: np.ndarray,
    inputs: np.ndarray | None,
) -> np.ndarray:
    """(M, steps, p) continuations. `now` has the trained weights A, C, b, d, B, D, K (its change), s; noise (steps, M, p)."""
    layers = [layer_parameters(_cell_arrays(arrays), k) for k in range(layer_count(_cell_arrays(arrays)))]
    found = np.empty((noise.shape[1], len(noise), sys.p))
    which = np.full(noise.shape[1], group)
    for t, drawn in enumerate(noise):
        u = (
            np.zeros((len(at.y), sys.D.shape[1]))
            if inputs is None
            else np.broadcast_to(inputs[t], (len(at.y), inputs.shape[1]))
        )
        F = sys.C @ at.cov @ sys.C.T + sys.R
        sd = np.sqrt(np.diag(F))
        mean = at.state @ sys.C.T + sys.d + weighted(sys.D, u)
        h = unit_view(at.y, at.seen, at.z, mean, np.broadcast_to(sd, mean.shape), u, which, scaling)
        for k, layer in enumerate(layers):
            at.units[k] = CELLS[cell].step(layer, h, at.units[k])
            h = CELLS[cell].hidden(at.units[k])
        path = at.trained @ now["C"].T + now["d"] + weighted(now["D"], u)
        swing = SWING * np.tanh(h @ arrays["readouts.1"].T / SWING) + now["s"]
        y = path + sd * (h @ arrays["readouts.0"].T) + np.exp(swing) * (drawn @ np.linalg.cholesky(F).T)
        gain = np.linalg.solve(F, (sys.A @ at.cov @ sys.C.T + sys.S).T).T
        at.trained = at.trained @ now["A"].T + now["b"] + weighted(now["B"], u) + (y - path) @ (gain + now["K"]).T
        at.state = at.state @ sys.A.T + sys.b + weighted(sys.B, u) + (y - mean) @ gain.T
        closed = sys.A - gain @ sys.C
        at.cov = closed @ at.cov @ closed.T + sys.Q - gain @ sys.S.T - sys.S @ gain.T + gain @ sys.R @ gain.T
        at.y, at.seen, at.z = y, np.ones_like(y), (y - mean) / sd
        found[:, t] = y
    return found


def _cell_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix("rnn."): array for name, array in arrays.items() if name.startswith("rnn.")}
