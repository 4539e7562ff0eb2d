"""The rows that emission laws are applied to: packed values, with what else a law may depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from statewise.kernels import gaussian


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
    def moments(self) -> Moments:
        """Of the observed entries of each column."""
        return Moments.of(self.values)

    @property
    def is_complete(self) -> bool:
        """Whether every entry is observed."""
        return bool((self.moments.count == len(self)).all())

    @cached_property
    def powers(self) -> np.ndarray:
        """(rows, 1 + 2p) of complete rows: 1, y − c and (y − c)² side by side, c the columns' means; weighted moments are products with it."""
        table = np.empty((len(self), 1 + 2 * self.dim))
        gaussian.powers(self.values, self.moments.mean, table)
        return table

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
        p = values.shape[1]
        count, total, low, high = np.zeros(p), np.zeros(p), np.full(p, np.inf), np.full(p, -np.inf)
        gaussian.column_extent(values, count, total, low, high)
        share, square = np.where(count > 0, count, np.nan), np.zeros(p)
        gaussian.column_square(values, total / share, square)
        return cls(count, total / share, square / share, low, high)


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
        low, high = np.fmin.reduce(column, initial=np.inf), np.fmax.reduce(column, initial=-np.inf)
        if 0 <= low <= high <= _CODES:
            found = cls._counted(column)
            if found is not None:
                return found
        values, which = np.unique(column, return_inverse=True)
        if len(values) and np.isnan(values[-1]):
            values = values[:-1]
        return cls(values, which.reshape(-1))

    @classmethod
    def _counted(cls, column: np.ndarray) -> Distinct | None:
        """Small whole numbers in a few passes without a sort; None if they are not whole."""
        codes = np.where(np.isnan(column), -1.0, column).astype(np.int64)
        if not ((codes == column) | (codes < 0)).all():
            return None
        counts = np.bincount(codes + 1)
        values = np.flatnonzero(counts[1:])
        number = np.full(len(counts), len(values))
        number[values + 1] = np.arange(len(values))
        return cls(values.astype(np.float64), number[codes + 1])

    @cached_property
    def _rows_by_value(self) -> sparse.csr_array:
        """(rows, m) a one where a row has a value."""
        seen = self.which < len(self.values)
        ends = np.concatenate([[0], np.cumsum(seen)])
        return sparse.csr_array((np.ones(ends[-1]), self.which[seen], ends), shape=(len(seen), len(self.values)))

    def totals(self, weights: np.ndarray) -> np.ndarray:
        """(m, K) the weights (rows, K) added up by value."""
        return np.asarray(self._rows_by_value.T @ weights)

    def spread(self, table: np.ndarray) -> np.ndarray:
        """(rows, K) the table's row (m, K) for each row's value; zeros where it is missing."""
        return np.take(np.concatenate([table, np.zeros((1, table.shape[1]))]), self.which, axis=0)
