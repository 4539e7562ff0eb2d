"""The rows that emission laws are applied to: packed values, with what else a law may depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from statewise.emissions.table import Table
from statewise.kernels import _chunks, distinct, gaussian
from statewise.sequences.sequences import observed_steps


@dataclass(frozen=True, eq=False)
class Rows:
    """Packed rows of all sequences.

    Attributes:
        values: (rows, p); NaN is missing.
        lengths: (N,) rows of each sequence; one sequence unless given.
        inputs: (rows, u), or None.
        columns: names, for messages.
    """

    values: np.ndarray
    lengths: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    inputs: np.ndarray | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.lengths):
            object.__setattr__(self, "lengths", np.array([len(self.values)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        return self.values.shape[1]

    def named(self, d: int) -> str:
        """Column d as a message calls it."""
        return f"column {self.columns[d]}" if self.columns else f"column number {d}"

    @cached_property
    def seen(self) -> np.ndarray:
        """(rows, p) whether an entry is observed."""
        return ~np.isnan(self.values)

    @cached_property
    def observed_steps(self) -> int:
        """Rows with at least one observed entry."""
        return observed_steps(self.values)

    @cached_property
    def moments(self) -> Moments:
        """Of the observed entries of each column."""
        return Moments.of(self.values)

    @cached_property
    def singles(self) -> tuple[Rows, ...]:
        """Each column alone."""
        names: list[tuple[str, ...]] = [(name,) for name in self.columns] or [()] * self.dim
        alone = (np.ascontiguousarray(self.values[:, [d]]) for d in range(self.dim))
        return tuple(Rows(values, self.lengths, self.inputs, names[d]) for d, values in enumerate(alone))

    @cached_property
    def distinct(self) -> tuple[Distinct, ...]:
        """The distinct observed values of each column, and where they are."""
        return tuple(Distinct.of(self.values[:, d]) for d in range(self.dim))

    def lags(self, order: int, fills: np.ndarray) -> np.ndarray:
        """(rows, order · p) the rows 1 … order steps before each in its sequence; `fills` (p,) for what is not there."""
        known = np.where(self.seen, self.values, fills)
        position = np.arange(len(self)) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        found = np.empty((len(self), order * self.dim))
        for lag in range(1, order + 1):
            block = found[:, (lag - 1) * self.dim : lag * self.dim]
            block[:] = fills
            block[lag:] = np.where(position[lag:, None] >= lag, known[:-lag], fills)
        return found


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean, population variance, least and largest of the observed entries of each column, (p,) each; NaN where there are none."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        bounds, p = _chunks.by_row(len(values)), values.shape[1]
        count, mean, square = np.zeros((3, len(bounds) - 1, p))
        low, high = np.full(mean.shape, np.inf), np.full(mean.shape, -np.inf)

        def work(c: int, first: int, last: int) -> None:
            gaussian.column_moments(values, first, last, count[c], mean[c], square[c], low[c], high[c])

        _chunks.share(work, bounds, 6.0 * values.size)
        total = count.sum(axis=0)
        share = np.where(total > 0, total, np.nan)
        centre = (count * mean).sum(axis=0) / share
        spread = square.sum(axis=0) + (count * (mean - centre) ** 2).sum(axis=0)
        return cls(total, centre, spread / share, low.min(axis=0), high.max(axis=0))


_CODES = 10_000  # whole numbers up to which distinct values are counted rather than sorted


@dataclass(frozen=True, eq=False)
class Distinct:
    """One column by its distinct observed values, ascending.

    Attributes:
        values: (m,).
        which: (rows,) the number of each row's value; m where it is missing.
    """

    values: np.ndarray
    which: np.ndarray

    @classmethod
    def of(cls, column: np.ndarray) -> Distinct:
        found = cls._counted(np.ascontiguousarray(column))
        if found is not None:
            return found
        values, which = np.unique(column, return_inverse=True)
        if len(values) and np.isnan(values[-1]):
            values = values[:-1]
        return cls(values, which.reshape(-1))

    @classmethod
    def _counted(cls, column: np.ndarray) -> Distinct | None:
        """Small whole numbers without a sort, numbered anew only where one is left out or an entry is missing; None if they are anything else."""
        which = np.empty(len(column), dtype=np.int64)
        largest = distinct.whole_codes(column, float(_CODES), which)
        if largest < -1:
            return None
        seen = np.zeros(largest + 2, dtype=bool)
        distinct.mark(which, seen)
        values = np.flatnonzero(seen[1:])
        if seen[0] or len(values) <= largest:
            number = np.full(len(seen), len(values))
            number[values + 1] = np.arange(len(values))
            distinct.renumber(which, number)
        return cls(values.astype(np.float64), which)

    def totals(self, weights: np.ndarray) -> np.ndarray:
        """(m, K) the weights (rows, K) added up by value."""
        bounds = _chunks.by_row(len(weights))
        sums = np.zeros((len(bounds) - 1, len(self.values) + 1, weights.shape[1]))
        weights = np.ascontiguousarray(weights)

        def work(chunk: int, first: int, last: int) -> None:
            distinct.totals(self.which, weights, first, last, sums[chunk])

        _chunks.share(work, bounds, 2.0 * weights.size)
        return np.asarray(sums.sum(axis=0)[:-1])

    def table(self, distinct: np.ndarray) -> Table:
        """The table whose row for each value is that of `distinct` (m, K); zeros where it is missing."""
        return Table(np.concatenate([distinct, np.zeros((1, distinct.shape[1]))]), self.which)
