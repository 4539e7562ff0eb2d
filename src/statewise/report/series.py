"""What of the data is drawn: which sequences and columns, on which axis, and how long series are thinned."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from statewise.report.numbers import moment, unit
from statewise.sequences.sequences import Sequences

MAX_COLUMNS = 6
MAX_SEQUENCES = 4
MAX_POINTS = 3000


def axis(seqs: Sequences, index: int) -> np.ndarray:
    """The x values of one sequence: its times, or the step numbers 0, 1, 2, …"""
    start, stop = seqs.offsets[index], seqs.offsets[index + 1]
    return np.arange(stop - start) if seqs.times is None else seqs.times[start:stop]


def axis_name(seqs: Sequences) -> str:
    """'step', 'time' or 'date': what the x axis shows."""
    if seqs.times is None:
        return "step"
    return "date" if np.issubdtype(seqs.times.dtype, np.datetime64) else "time"


def texts(seqs: Sequences, x: np.ndarray) -> list[str]:
    """x values as text, in the form that suits all times of the data: 1803 for years, 1959-04 for months, else ISO."""
    if not np.issubdtype(x.dtype, np.datetime64):
        return [moment(value) for value in x]
    both = x if seqs.times is None else np.concatenate([seqs.times, x])
    return [str(value) for value in x.astype(f"datetime64[{unit(both)}]")]


def as_json(x: np.ndarray) -> list[Any]:
    """x values for a figure: dates as ISO text, numbers as numbers."""
    if np.issubdtype(x.dtype, np.datetime64):
        return [moment(value) for value in x]
    return [value.item() for value in x]


def rounded(values: np.ndarray, places: int) -> list[float | None]:
    """Numbers for a figure, two decimals finer than they are shown; NaN and infinities become gaps."""
    return [round(float(value), places + 2) if np.isfinite(value) else None for value in values]


def thinned(values: np.ndarray, limit: int = MAX_POINTS) -> np.ndarray:
    """Positions to draw, at most about `limit`: of each stretch the lowest, the highest and one missing value.

    A short series keeps all its positions. Peaks and gaps stay visible, which even spacing would lose.
    """
    if values.size <= limit:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, limit // 2 + 1).astype(int)
    kept = [0, values.size - 1]
    for start, stop in itertools.pairwise(edges):
        part = values[start:stop]
        missing = np.isnan(part)
        if missing.any():
            kept.append(start + int(missing.argmax()))
        if not missing.all():
            kept += [start + int(np.nanargmin(part)), start + int(np.nanargmax(part))]
    return np.unique(kept)


def scattered(values: np.ndarray, limit: int = MAX_POINTS) -> np.ndarray:
    """Positions to draw as dots: evenly spaced ones, and the twentieth of the limit that lies farthest out.

    Unlike `thinned`, this keeps the look of the cloud; a short series keeps all its positions.
    """
    if values.size <= limit:
        return np.arange(values.size)
    even = np.linspace(0, values.size - 1, limit).astype(int)
    farthest = np.argsort(np.where(np.isfinite(values), np.abs(values), -1.0))[-(limit // 20) :]
    return np.union1d(even, farthest)


def isolated(values: np.ndarray) -> np.ndarray:
    """Which observations stand alone between gaps: a line cannot show them."""
    known = np.isfinite(values)
    before = np.concatenate([[False], known[:-1]])
    after = np.concatenate([known[1:], [False]])
    return known & ~before & ~after
