"""Scaling columns to mean 0 and standard deviation 1, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.sequences.sequences import Sequences

_ROUNDING = 4 * float(np.finfo(np.float64).eps)

_FIRST = 64  # rows that tell whether a column varies, in nearly all data


@dataclass(frozen=True, eq=False)
class Scaling:
    """z = (y − mean) / scale, column by column; inputs, times and labels are left alone.

    Args:
        mean: (p,) what is subtracted.
        scale: (p,) positive numbers to divide by.

    Raises:
        InputError: naming the argument and the fix.

    Example:
        >>> seqs = Sequences.from_arrays([[1.0, 2.0, 3.0]])
        >>> scaled, scaling = seqs.standardise()
        >>> scaling.undo(scaled).values.ravel().tolist()
        [1.0, 2.0, 3.0]
    """

    mean: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        mean = checks.array("mean", self.mean, (None,))
        scale = checks.array("scale", self.scale, (len(mean),))
        if not (scale > 0).all():
            raise InputError(f"`scale` has the entry {scale[~(scale > 0)][0]:g}; pass positive numbers")
        for name, value in (("mean", mean), ("scale", scale)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def apply(self, seqs: Sequences) -> Sequences:
        """The sequences in scaled units."""
        return seqs.replace(values=(self._columns_of(seqs).values - self.mean) / self.scale)

    def undo(self, seqs: Sequences) -> Sequences:
        """The sequences back in original units; equal to what was scaled up to rounding of the last digit."""
        return seqs.replace(values=self.undo_values(self._columns_of(seqs).values))

    def undo_values(self, array: Any) -> np.ndarray:
        """An array (..., p) of scaled values, such as means or quantiles, in original units."""
        return np.asarray(array, dtype=np.float64) * self.scale + self.mean

    def log_jacobian(self, seqs: Sequences) -> np.ndarray:
        """(rows,) −Σ log scale over the observed entries of each row, so that log p(y) = log p(z) + log_jacobian."""
        return -(~np.isnan(self._columns_of(seqs).values)).astype(np.float64) @ np.log(self.scale)

    def _columns_of(self, seqs: Sequences) -> Sequences:
        if seqs.dim != len(self.mean):
            raise InputError(
                f"the sequences have {seqs.dim} columns but the scaling has {len(self.mean)}; pass the same columns"
            )
        return seqs


def refuse_tiny(seqs: Sequences) -> None:
    """Refuse a column that varies so little that its variance is not in the range of a double (one that is constant is left to the model)."""
    for name, range_ in zip(seqs.columns, _ranges(seqs.values), strict=True):
        if 0 < range_ < 1 / checks.LARGEST:
            raise InputError(
                f"column {name!r} varies by {range_:.3g} in all, whose square is not in the range of a double; give it in smaller units"
            )


def _ranges(values: np.ndarray) -> np.ndarray:
    """(p,) largest less smallest observed entry of each column, NaN without one; of a column that varies enough at once, of its first rows."""
    first = values[:_FIRST]
    ranges = np.fmax.reduce(first, axis=0) - np.fmin.reduce(first, axis=0)
    for k in np.flatnonzero(~(ranges >= 1 / checks.LARGEST)) if len(values) > _FIRST else ():
        ranges[k] = np.fmax.reduce(values[:, k]) - np.fmin.reduce(values[:, k])
    return np.asarray(ranges)


def standardise(seqs: Sequences) -> tuple[Sequences, Scaling]:
    """The sequences with each column's mean 0 and standard deviation 1 over its observed entries, and the scaling that
    undoes it.

    The standard deviation is the population's (divided by the count). A column that is constant or has no observed
    entry gets scale 1. Exact sums are not needed, overflow is avoided: each column is first divided by its largest
    magnitude.
    """
    scaling = _standard(seqs.values)
    return scaling.apply(seqs), scaling


def standardise_inputs(seqs: Sequences, centre: bool = True) -> tuple[Sequences, Scaling]:
    """The sequences with each input's standard deviation 1, and mean 0 if `centre`; an input that is constant gets scale 1."""
    if seqs.inputs is None:
        return seqs, Scaling(np.zeros(0), np.ones(0))
    spread = seqs.inputs.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    mean = seqs.inputs.mean(axis=0) if centre else np.zeros(len(scale))
    return seqs.replace(inputs=(seqs.inputs - mean) / scale), Scaling(mean, scale)


def _standard(values: np.ndarray) -> Scaling:
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(axis=0), 1)
    largest = np.abs(np.where(seen, values, 0.0)).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    share = np.where(seen, values / unit, 0.0)
    middle = share.sum(axis=0) / count
    spread = np.sqrt((np.where(seen, share - middle, 0.0) ** 2).sum(axis=0) / count)
    scale = unit * spread
    varies = (spread > _ROUNDING) & (scale >= np.finfo(np.float64).tiny)
    return Scaling(mean=unit * middle, scale=np.where(varies, scale, 1.0))
