"""`Sequences`: ragged numeric sequences as packed rows plus lengths. Immutable."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.sequences.calendar import parse_times, time_text

if TYPE_CHECKING:
    from statewise.sequences.scaling import Scaling
    from statewise.sequences.split import Window


@dataclass(frozen=True, eq=False, repr=False)
class Sequences:
    """N sequences, stored as packed rows: sequence i is rows ``offsets[i]`` to ``offsets[i + 1]``.

    Args:
        values: (rows, p) numbers; NaN means missing. A (rows,) array is one column.
        lengths: (N,) rows of each sequence, each at least 1, summing to rows.
        inputs: (rows, u) exogenous inputs, complete (NaN is refused: a model cannot guess an input), or None.
        times: (rows,) numbers or dates, strictly increasing within each sequence, or None for 0, 1, 2, …
        labels: (rows,) one label a step, or (N,) one a sequence, or None.
        ids: N distinct names; default 0 … N-1.
        columns: p names; default y, or y1 … yp.
        input_columns: u names; default u1 … uu.
        symbols: for coded text, the symbol of each code; None for numbers.
        season: steps in a season where it is known (12 for months); None if unknown, 1 if there is none.

    Raises:
        InputError: naming the argument, its value and the fix.

    All arrays are copies and read-only.

    Example:
        >>> seqs = Sequences.from_arrays([[1.0, 2.0, 3.0], [4.0, 5.0]])
        >>> len(seqs), seqs.dim, seqs.lengths.tolist()
        (2, 1, [3, 2])
    """

    values: np.ndarray
    lengths: np.ndarray
    inputs: np.ndarray | None = None
    times: np.ndarray | None = None
    labels: np.ndarray | None = None
    ids: tuple[Hashable, ...] = ()
    columns: tuple[str, ...] = ()
    input_columns: tuple[str, ...] = ()
    symbols: tuple[str, ...] | None = None
    season: int | None = None

    def __post_init__(self) -> None:
        values = checks.array("values", _columns("values", self.values), (None, None), allow_nan=True)
        rows, dim = values.shape
        if rows == 0 or dim == 0:
            raise InputError(f"`values` has shape {values.shape}; pass at least one row and one column")
        _refuse_large("values", values)
        self._put("values", _locked(values))
        self._put("lengths", _locked(_checked_lengths(self.lengths, rows)))
        self._put("inputs", _checked_inputs(self.inputs, rows))
        self._put("times", _checked_times(self.times, rows, self.lengths))
        self._put("labels", _checked_labels(self.labels, rows, len(self)))
        self._put("ids", _names("ids", self.ids, len(self), range(len(self))))
        plain = ["y"] if dim == 1 else [f"y{k + 1}" for k in range(dim)]
        self._put("columns", _names("columns", self.columns, dim, plain))
        width = 0 if self.inputs is None else self.inputs.shape[1]
        self._put(
            "input_columns", _names("input_columns", self.input_columns, width, [f"u{k + 1}" for k in range(width)])
        )
        if self.symbols is not None:
            letters = (
                self.symbols if isinstance(self.symbols, str) else checks.listed("symbols", self.symbols, "one a code")
            )
            self._put("symbols", tuple(letters))
        self._put("season", checks.Optional(checks.Integer(1)).check("season", self.season))

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    # --- making ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        arrays: Sequence[Any],
        inputs: Sequence[Any] | None = None,
        times: Sequence[Any] | None = None,
        labels: Sequence[Any] | None = None,
        **names: Any,
    ) -> Sequences:
        """Sequences from one (T,) or (T, p) array each; see `statewise.sequences.build.from_arrays`."""
        from statewise.sequences.build import from_arrays

        return from_arrays(arrays, inputs=inputs, times=times, labels=labels, **names)

    @classmethod
    def from_frame(cls, frame: Any, values: Sequence[str] | str | None = None, **columns: Any) -> Sequences:
        """Rows of a pandas, polars or any narwhals-readable frame; see `statewise.sequences.build.from_frame`."""
        from statewise.sequences.build import from_frame

        return from_frame(frame, values, **columns)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy through the constructor, so that the arrays of a copy are read-only too."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def replace(self, **changes: Any) -> Sequences:
        """A copy with some fields replaced, validated anew."""
        return replace(self, **changes)

    # --- sizes ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        plural = "sequence" if len(self) == 1 else "sequences"
        low, high = self.lengths.min(), self.lengths.max()
        steps = f"{low}" if low == high else f"{low}–{high}"
        shown = ", ".join(map(str, self.columns[:6])) + (", …" if self.dim > 6 else "")
        missing = f", {self.n_missing} missing" if self.n_missing else ""
        extra = f", {len(self.input_columns)} inputs" if self.inputs is not None else ""
        return f"<Sequences: {len(self)} {plural} × {steps} steps × {self.dim} ({shown}){missing}{extra}>"

    @property
    def rows(self) -> int:
        """Steps in all sequences together."""
        return self.values.shape[0]

    @property
    def dim(self) -> int:
        """Columns p."""
        return self.values.shape[1]

    @property
    def offsets(self) -> np.ndarray:
        """(N + 1,) where each sequence starts; the last entry is the number of rows."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def n_missing(self) -> int:
        """Missing entries (NaN)."""
        return int(np.isnan(self.values).sum())

    @property
    def n_observed_steps(self) -> int:
        """Rows with at least one observed entry."""
        return observed_steps(self.values)

    @property
    def n_observed(self) -> int:
        """Observed entries."""
        return self.values.size - self.n_missing

    @property
    def labels_per(self) -> str | None:
        """'step', 'sequence' or None."""
        if self.labels is None:
            return None
        return "step" if len(self.labels) == self.rows else "sequence"

    # --- parts ----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Sequences]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> Sequences:
        """Sequences by position: one number, a slice, a list of numbers or a boolean mask; always a `Sequences`."""
        picked = _positions(which, len(self))
        offsets = self.offsets
        rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in picked])
        return self._take(rows, self.lengths[picked], picked)

    def steps(self, start: int | None = None, stop: int | None = None) -> Sequences:
        """Steps `start` to `stop` (exclusive, as in a slice) of every sequence; sequences left empty are dropped."""
        rule = checks.Optional(checks.Integer(-(2**31)))
        part = slice(rule.check("start", start), rule.check("stop", stop))
        spans = [range(*part.indices(int(length))) for length in self.lengths]
        return self.cut([(span.start, span.stop) for span in spans])

    def cut(self, spans: Sequence[tuple[int, int]]) -> Sequences:
        """For each sequence, its steps from ``span[0]`` up to ``span[1]`` (exclusive); empty ones are dropped."""
        spans = _checked_spans(spans, self.lengths)
        kept = [i for i, (start, stop) in enumerate(spans) if stop > start]
        if not kept:
            raise InputError("no sequence has a step left in the given range; choose an earlier start or a later stop")
        offsets = self.offsets
        rows = np.concatenate([np.arange(offsets[i] + spans[i][0], offsets[i] + spans[i][1]) for i in kept])
        lengths = np.array([spans[i][1] - spans[i][0] for i in kept])
        return self._take(rows, lengths, np.array(kept))

    def _take(self, rows: np.ndarray, lengths: np.ndarray, picked: np.ndarray) -> Sequences:
        labels = self.labels
        if labels is not None:
            labels = labels[rows] if self.labels_per == "step" else labels[picked]
        return replace(
            self,
            values=self.values[rows],
            lengths=lengths,
            inputs=None if self.inputs is None else self.inputs[rows],
            times=None if self.times is None else self.times[rows],
            labels=labels,
            ids=tuple(self.ids[i] for i in picked),
        )

    def arrays(self) -> list[np.ndarray]:
        """The values of each sequence, (T, p) read-only views."""
        return np.split(self.values, self.offsets[1:-1])

    def split(
        self, fraction: float | None = None, *, date: Any = None, by: str = "time"
    ) -> tuple[Sequences, Sequences]:
        """Earlier and later part without leakage; see `statewise.sequences.split.split`."""
        from statewise.sequences.split import split

        return split(self, fraction, date=date, by=by)

    def rolling(self, horizon: int, windows: int, stride: int | None = None) -> list[Window]:
        """Rolling-origin windows, oldest first; see `statewise.sequences.split.rolling`."""
        from statewise.sequences.split import rolling

        return rolling(self, horizon, windows, stride)

    def standardise(self) -> tuple[Sequences, Scaling]:
        """Each column with mean 0 and standard deviation 1, and the `Scaling` that undoes it exactly."""
        from statewise.sequences.scaling import standardise

        return standardise(self)

    # --- comparing and showing ------------------------------------------------------------------------------------

    def equals(self, other: Sequences) -> bool:
        """Whether every field is the same, NaN matching NaN."""
        return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    def to_frame(self) -> Any:
        """A long pandas frame: id, time, values, inputs, labels."""
        from statewise.sequences.build import to_frame

        return to_frame(self)


def _locked(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _columns(name: str, given: Any) -> np.ndarray:
    """A table as given, or a single column as a table of one."""
    try:
        table = np.asarray(given)
    except (TypeError, ValueError):
        raise InputError(
            f"`{name}` is {checks.shown(given)}; pass numbers of shape (rows,) or (rows, columns)"
        ) from None
    return table[:, None] if table.ndim == 1 else table


def _refuse_large(name: str, table: np.ndarray) -> None:
    wrong = checks.too_large(table)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(f"`{name}` has the entry {table[row, column]:g} at row {row}, column {column}; {checks.UNITS}")


def _checked_lengths(lengths: Any, rows: int) -> np.ndarray:
    try:
        clean = np.array(lengths, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"`lengths` is {checks.shown(lengths)}; pass whole numbers") from None
    if clean.ndim != 1 or clean.size == 0:
        raise InputError(f"`lengths` has shape {clean.shape}; pass one number a sequence")
    whole = (clean >= 1) & (clean == np.floor(clean))
    if not whole.all():
        raise InputError(f"`lengths` has the entry {clean[~whole][0]:g}; pass whole numbers from 1")
    total = int(clean.sum())
    if total != rows:
        raise InputError(f"`lengths` sums to {total} but `values` has {rows} rows; pass lengths that sum to {rows}")
    return clean.astype(np.int64)


def _checked_inputs(inputs: Any, rows: int) -> np.ndarray | None:
    if inputs is None:
        return None
    clean = checks.array("inputs", _columns("inputs", inputs), (rows, None), allow_nan=True)
    _refuse_large("inputs", clean)
    if np.isnan(clean).any():
        row, column = np.argwhere(np.isnan(clean))[0]
        raise InputError(
            f"`inputs` is NaN at row {row}, column {column}; inputs cannot be missing: fill them, or move the column "
            "to `values`"
        )
    return _locked(clean) if clean.shape[1] else None


def _checked_times(times: Any, rows: int, lengths: np.ndarray) -> np.ndarray | None:
    if times is None:
        return None
    clean = np.array(parse_times(times))
    if clean.shape != (rows,):
        raise InputError(f"`times` has shape {clean.shape}; pass one time a row, shape ({rows},)")
    starts = np.cumsum(lengths)[:-1]
    rises = clean[1:] > clean[:-1]
    rises[starts - 1] = True
    if not rises.all():
        row = int(np.flatnonzero(~rises)[0])
        raise InputError(
            f"`times` does not increase from row {row} ({time_text(clean[row])}) to row {row + 1} "
            f"({time_text(clean[row + 1])}); sort each sequence by time and keep one row a time"
        )
    return _locked(clean)


def _checked_labels(labels: Any, rows: int, count: int) -> np.ndarray | None:
    if labels is None:
        return None
    try:
        clean = np.array(labels)
    except ValueError:  # ragged
        clean = np.empty((0, 0))
    if clean.ndim != 1 or len(clean) not in (rows, count):
        raise InputError(f"`labels` has shape {clean.shape}; pass one a step ({rows},) or one a sequence ({count},)")
    return _locked(clean)


def _names(name: str, given: Any, size: int, default: Any) -> tuple[Any, ...]:
    names = (
        ()
        if given is None
        else (given,)
        if isinstance(given, str)
        else tuple(checks.listed(name, given, "a list of names"))
    )
    names = tuple(item.item() if isinstance(item, np.generic) else item for item in names or default)
    if len(names) != size:
        raise InputError(f"`{name}` has {len(names)} names; pass {size}")
    try:
        distinct = len(set(names))
    except TypeError:
        raise InputError(f"`{name}` is {checks.shown(names)}; pass names that can be keys of a dict") from None
    if distinct != size:
        twice = next(item for item in names if names.count(item) > 1)
        raise InputError(f"`{name}` has {twice!r} twice; pass distinct names")
    return names


def _checked_spans(spans: Any, lengths: np.ndarray) -> list[tuple[int, int]]:
    table = checks.array("spans", checks.listed("spans", spans, "(start, stop) for each sequence"), (len(lengths), 2))
    low, high = table.T
    wrong = (low < 0) | (high > lengths) | (table != np.floor(table)).any(axis=1)
    if wrong.any():
        i = int(wrong.argmax())
        raise InputError(f"`spans`[{i}] is {tuple(table[i].tolist())}; pass whole numbers from 0 to {lengths[i]}")
    return [(int(start), int(stop)) for start, stop in table]


def _positions(which: Any, count: int) -> np.ndarray:
    if isinstance(which, slice):
        picked = np.arange(count)[which]
    else:
        try:
            given = np.atleast_1d(np.asarray(which))
        except ValueError:  # ragged
            given = np.empty((1, 1), dtype=object)
        if given.dtype == bool and given.shape != (count,):
            raise InputError(f"the mask has {given.size} entries; pass one for each of the {count} sequences")
        if given.size and (given.dtype.kind not in "biu" or given.ndim > 1):
            raise InputError(f"sequences are picked by position, not by {checks.shown(which)}; pass whole numbers")
        outside = given[(given >= count) | (given < -count)] if given.dtype.kind in "iu" else given[:0]
        if outside.size:
            raise IndexError(f"there is no sequence {outside[0]}; positions go from 0 to {count - 1}")
        picked = np.arange(count)[given if given.size else slice(0)]
    if picked.size == 0:
        raise InputError("the selection is empty; a `Sequences` holds at least one sequence")
    return picked


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return type(a) is type(b) and a == b
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(np.array_equal(a, b, equal_nan=np.issubdtype(a.dtype, np.floating)))


def most_symbols(seqs: Sequences) -> int:
    """How many symbols the values are codes of: as many as are named, or as the largest code says; 2 at least."""
    largest = float(np.nanmax(seqs.values, initial=1.0))
    if largest >= 1e6:
        raise InputError(f"the values have the code {largest:g}; number the symbols 0, 1, 2, … without gaps")
    return max(len(seqs.symbols or ()), int(largest) + 1)


def observed_steps(values: np.ndarray) -> int:
    """Rows of (rows, p) values with at least one observed entry."""
    if not values.size or not np.isnan(np.min(values)):  # a minimum is NaN where one entry is
        return len(values)
    return int((~np.isnan(values)).any(axis=1).sum())
