"""Frames to `Sequences` and back: pandas, polars, pyarrow and whatever else narwhals reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import DataError, InputError
from statewise.sequences.calendar import parse_times
from statewise.sequences.sequences import Sequences
from statewise.sequences.table import Table, assemble


def from_frame(
    frame: Any,
    values: Sequence[str] | str | None = None,
    *,
    time: str | bool | None = None,
    id: str | None = None,
    inputs: Sequence[str] | str | None = None,
    label: str | None = None,
    sort: bool = False,
    season: int | None = None,
) -> Sequences:
    """Sequences from a pandas, polars or pyarrow frame (anything eager that narwhals reads), or from a series.

    Args:
        frame: one row a step; a long frame holds several sequences, told apart by `id`, in any order of rows.
        values: the columns to model. Default: all numeric columns that have no other part. A frame with the columns
            unique_id, ds and y (and no `values`, `time` or `id` given) is read as that: id, time and value.
        time: the column of times; False for none. Default: a pandas DatetimeIndex or PeriodIndex; otherwise the first
            column that has no other part, if it holds dates or is called date, time, year, month, ds or the like (a
            year with a quarter or month column beside it is read together with it). Times with a zone are converted to
            UTC.
        id: the column that tells sequences apart.
        inputs: exogenous columns, complete.
        label: a column with one label a row.
        sort: sort each sequence by time; otherwise unsorted times are an error.
        season: steps in a season; default: guessed from the times of the longest sequence; 1 says that there is none.

    Raises:
        DataError: naming the column, the row (counted from 0) and the fix.
        InputError: an argument is wrong, or `frame` is no frame.
    """
    return assemble(table_of(frame), values, time, id, inputs, label, sort, season)


def is_frame(data: Any) -> bool:
    """Whether `data` is a frame or a series that `from_frame` reads."""
    if isinstance(data, (np.ndarray, list, tuple)):
        return False
    import narwhals as nw

    deps = nw.dependencies
    return bool(deps.is_into_dataframe(data) or deps.is_into_series(data) or deps.is_polars_lazyframe(data))


def table_of(frame: Any, source: str = "the frame", lines: Sequence[int] | None = None) -> Table:
    """A frame's columns as integers, float64, datetime64 or lists of cells, and the times in its index.

    Args:
        frame: a frame or a series.
        source: what messages call it.
        lines: (rows,) what messages call its rows; default 0, 1, 2, …
    """
    import narwhals as nw

    if nw.dependencies.is_polars_lazyframe(frame):
        raise InputError("`frame` is a lazy frame; call .collect() first")
    if nw.dependencies.is_into_series(frame):
        series = nw.from_native(frame, series_only=True)
        frame = (series if series.name else series.alias("y")).to_frame().to_native()
    if not nw.dependencies.is_into_dataframe(frame):
        raise InputError(f"`frame` is {checks.shown(frame)}; pass a pandas, polars or pyarrow frame")
    pandas = nw.dependencies.is_pandas_dataframe(frame)
    names = [str(name) for name in (frame.columns if pandas else nw.from_native(frame).columns)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source} has the column {twice!r} twice; rename one")
    if not names or not len(frame):
        raise DataError(f"{source} has {len(frame)} rows and {len(names)} columns; pass at least one of each")
    index = _index_times(frame.index, source) if pandas else None
    if pandas:  # it also allows names that are no text
        frame = frame.set_axis(names, axis=1)
    columns = nw.from_native(frame, eager_only=True)
    return Table({name: _cells(columns[name], nw) for name in names}, source=source, lines=lines, index=index)


def _cells(series: Any, nw: Any) -> Any:
    kind = series.dtype
    if kind.is_integer() and not series.is_null().any():
        return series.to_numpy().astype(np.uint64 if kind.is_unsigned_integer() else np.int64)  # exact, as ids must be
    if kind.is_numeric():
        return np.array(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
    if isinstance(kind, nw.Datetime):
        if kind.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.to_numpy().astype("datetime64[us]")
    if kind == nw.Date:
        return series.to_numpy().astype("datetime64[us]")
    if "period" in str(getattr(series.to_native(), "dtype", "")):
        return series.to_native().dt.to_timestamp().to_numpy().astype("datetime64[us]")
    gone = series.is_null().to_list()
    return [None if missing else cell for cell, missing in zip(series.to_list(), gone, strict=True)]


def _index_times(index: Any, source: str) -> np.ndarray | None:
    """Times in a pandas index, or None."""
    kind = type(index).__name__
    if kind == "MultiIndex":
        raise DataError(
            f"{source} has an index of several levels; call .reset_index() and name the columns with `id` and `time`"
        )
    if kind == "PeriodIndex":
        index = index.to_timestamp()
    elif kind != "DatetimeIndex":
        return None
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return parse_times(index.to_numpy(), "index")


def to_frame(seqs: Sequences) -> Any:
    """A long pandas frame with one row a step: id, time (if any), the value columns, the inputs, label (if any).

    A name that a value column already has gets an underscore: id_, time_, label_.
    """
    import pandas as pd

    ids = np.empty(len(seqs), dtype=object)
    ids[:] = seqs.ids
    taken = set(seqs.columns)

    def free(name: str) -> str:
        name = name if name not in taken else free(name + "_")
        taken.add(name)
        return name

    columns: dict[str, Any] = {free("id"): pd.Series(np.repeat(ids, seqs.lengths)).infer_objects()}
    if seqs.times is not None:
        columns[free("time")] = seqs.times
    columns |= dict(zip(seqs.columns, seqs.values.T, strict=True))
    if seqs.inputs is not None:
        columns |= {free(name): column for name, column in zip(seqs.input_columns, seqs.inputs.T, strict=True)}
    if seqs.labels is not None:
        columns[free("label")] = seqs.labels if seqs.labels_per == "step" else np.repeat(seqs.labels, seqs.lengths)
    return pd.DataFrame(columns)
