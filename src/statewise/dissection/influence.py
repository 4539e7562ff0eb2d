"""How strongly an input still acts on the state some steps later."""

from __future__ import annotations

import numpy as np

from statewise._core.seed import generator
from statewise.dissection.systems import System

_SOURCES = 8  # input steps that are followed in every sequence
_DIRECTIONS = 8  # followed at once; of more inputs, so many random ones
_FADED = 1e-4  # of its largest, below which an influence need not be followed much further
LOWEST = 1e-30  # of the largest


def influence(system: System, lags: int, seed: int | None = 0) -> np.ndarray:
    """(units, K + 1) ln ‖∂s[t]/∂x[t−k]‖_F for k = 0 … K, one row for each input step that is followed; NaN beyond a sequence's end.

    Tangents are pushed forward from a few steps of every sequence, scaled to size 1 as they go, for as long as they matter.
    Where nothing drives the recurrence it is
    ∂s[t]/∂s[t−k]. Of many inputs a random subspace is followed, whose squared norm is right on the average.
    """
    system = system.at(np.float64)
    longest = min(lags, int(system.lengths.max()) - 1)
    last = int(system.lengths.max()) - 1 - longest
    starts = np.unique(np.linspace(0, last, _SOURCES).astype(int))
    d = system.inputs.shape[2] or system.size
    width = min(d, _DIRECTIONS)
    basis = (
        np.eye(d) if width == d else np.linalg.qr(generator(seed).standard_normal((d, width)))[0] * np.sqrt(d / width)
    )
    found = []
    for start in starts.tolist():
        logs = _followed(system, start, longest, basis)
        found.append(logs)
        faded = (logs < np.nanmax(logs, axis=1, keepdims=True) + np.log(_FADED)) | np.isnan(logs)
        if faded.all(axis=0).any():
            longest = min(longest, 2 * int(faded.all(axis=0).argmax()))
    every = np.concatenate([logs[:, : longest + 1] for logs in found])
    return every[np.isfinite(every[:, 0])]


def _followed(system: System, start: int, longest: int, basis: np.ndarray) -> np.ndarray:
    """(B, K + 1) the logs of one input step."""
    tangents = np.repeat(basis[None], system.batch, axis=0)
    tangents = system.push_input(start, tangents) if system.inputs.shape[2] else system.push(start, tangents)
    logs, size = np.full((system.batch, longest + 1), np.nan), np.zeros(system.batch)
    for k in range(longest + 1):
        if k:
            tangents = system.push(start + k, tangents)
        norm = np.sqrt(np.einsum("bnk,bnk->b", tangents, tangents))
        with np.errstate(divide="ignore"):
            size = size + np.log(norm)
        logs[:, k] = np.where(system.mask[:, start + k], size, np.nan)
        if not (norm > 0).any():
            logs[:, k + 1 :] = np.where(system.mask[:, start + k + 1 : start + longest + 1], -np.inf, np.nan)
            break
        tangents = tangents / np.where(norm > 0, norm, 1.0)[:, None, None]
    return logs


def geometric_mean(logs: np.ndarray) -> np.ndarray:
    """(K + 1,) the mean of logs (units, K + 1) by lag, of what is there, relative to its largest; −∞ counts as `LOWEST`."""
    top = np.nanmax(logs)
    there = ~np.isnan(logs)
    floored = np.where(there, np.maximum(logs, top + np.log(LOWEST)), 0.0)
    count = there.sum(axis=0)
    mean = np.where(count > 0, floored.sum(axis=0) / np.maximum(count, 1), np.nan)
    found: np.ndarray = mean - np.nanmax(mean)
    return found
