"""From a table (a frame, a file) to `Sequences`: which column is what, and what is wrong with it where."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import DataError, InputError
from statewise.sequences.calendar import (
    MISSING,
    YEAR_NAMES,
    UnreadableTimeError,
    guess_season,
    parse_times,
    time_text,
)
from statewise.sequences.sequences import Sequences

TIME_NAMES = (
    frozenset({"date", "datetime", "day", "ds", "month", "quarter", "t", "time", "timestamp", "week"}) | YEAR_NAMES
)
CLEAR_TIME_NAMES = frozenset({"date", "datetime", "ds", "time", "timestamp"}) | YEAR_NAMES
_PARTS = {"quarter": 3, "qtr": 3, "month": 1}  # months in one step of a column beside a year
_NIXTLA = ("unique_id", "ds", "y")


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length and where they come from.

    Args:
        columns: integer, float64 or datetime64 arrays, or lists of cells (text, None where missing).
        source: what messages call it: a file name, or "the frame".
        lines: (rows,) number of each row as the user sees it; default 0, 1, 2, …
        unit: what messages call a row: "line" in a text file, otherwise "row".
        index: (rows,) times that the table carries apart from its columns (a pandas index), or None.
    """

    columns: dict[str, Any]
    source: str
    lines: Sequence[int] | None = None
    unit: str = "row"
    index: np.ndarray | None = None
    _parsed: dict[str, tuple[np.ndarray, int | None]] = field(default_factory=dict)

    def place(self, row: int, column: str | None = None) -> str:
        """Where a cell is, as the user counts."""
        where = f"{self.source}, {self.line(row)}"
        return where if column is None else f"{where}, column {column!r}"

    def line(self, row: int) -> str:
        """The row as the user counts."""
        return f"{self.unit} {row if self.lines is None else self.lines[row]}"

    def need(self, argument: str, name: Any) -> str:
        """`name` if the table has such a column."""
        if isinstance(name, str) and name in self.columns:
            return name
        near = difflib.get_close_matches(str(name), self.columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its columns are {_listed(self.columns)}"
        raise DataError(f"{self.source} has no column {name!r} (asked for as `{argument}`); {hint}")

    def numbers(self, name: str) -> np.ndarray:
        """(rows,) float64 of a column, NaN where missing."""
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            if cells.dtype.kind == "M":
                raise DataError(f"{self.source}, column {name!r} has dates, not numbers; use it as `time`")
            numbers = cells.astype(np.float64)
        else:
            numbers, bad = self._parse(name)
            if bad is not None:
                raise DataError(
                    f"{self.place(bad, name)}: {checks.shown(cells[bad])} is not a number; correct the cell (with a "
                    "decimal point, and empty if it is missing), or choose other columns with `values`"
                )
        if np.isinf(numbers).any():
            row = int(np.flatnonzero(np.isinf(numbers))[0])
            raise DataError(
                f"{self.place(row, name)}: the number is infinite; correct it, or leave the cell empty if it is missing"
            )
        if checks.too_large(numbers).any():
            row = int(np.flatnonzero(checks.too_large(numbers))[0])
            raise DataError(f"{self.place(row, name)}: the number is {numbers[row]:g}; {checks.UNITS}")
        return numbers

    def _parse(self, name: str) -> tuple[np.ndarray, int | None]:
        if name not in self._parsed:
            self._parsed[name] = parse_numbers(self.columns[name])
        return self._parsed[name]

    def is_numeric(self, name: str) -> bool:
        """Whether the column is meant as numbers: at least half of its cells that are there are."""
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            return cells.dtype.kind in "fiu"
        if self._parse(name)[1] is None:
            return bool not in set(map(type, cells))
        there = [cell for cell in cells if not _is_missing(cell)]
        return sum(map(_is_number, there)) >= len(there) / 2

    def times(self, names: Sequence[str]) -> np.ndarray:
        """(rows,) times of a column, or of a year's column and a quarter's or month's."""
        if len(names) == 2:
            return self._year_and_part(*names)
        name = names[0]
        try:
            return parse_times(self.columns[name], name, guess=True)
        except UnreadableTimeError as error:
            raise DataError(f"{self.place(error.row, name)}: the time {error.problem}") from None

    def _year_and_part(self, year: str, part: str) -> np.ndarray:
        """(rows,) months of a year's column and a quarter's or month's."""
        months = _PARTS[part.casefold()]
        for name, low, high in ((year, 1, 9999), (part, 1, 12 // months)):
            numbers = self.numbers(name)
            wrong = ~((numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers)))
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                raise DataError(
                    f"{self.place(row, name)}: {numbers[row]:g} is not a whole number from {low} to {high}; correct it"
                )
        months_since = (self.numbers(year) - 1970) * 12 + (self.numbers(part) - 1) * months
        return months_since.astype(np.int64).astype("datetime64[M]").astype("datetime64[us]")

    def names(self, name: str) -> list[Hashable]:
        """(rows,) whole numbers if all cells are, otherwise the cells as they are. Only an empty cell is missing."""
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            missing = np.isnat(cells) if cells.dtype.kind == "M" else np.isnan(cells)
            whole = cells.dtype.kind == "f" and not missing.any() and (cells == np.floor(cells)).all()
            clean = (cells.astype(np.int64) if whole else cells).tolist()
        else:
            missing = np.array([cell is None or cell == "" for cell in cells])
            whole = not missing.any() and all(_is_whole(cell) for cell in cells)
            clean = [int(cell) for cell in cells] if whole else list(cells)
        if missing.any():
            raise DataError(
                f"{self.place(int(np.flatnonzero(missing)[0]), name)}: the cell is empty; every row needs one"
            )
        return clean


def parse_numbers(cells: Sequence[Any]) -> tuple[np.ndarray, int | None]:
    """Cells as float64 with NaN where missing, and the first row that is not a number (None if there is none)."""
    try:
        if "_" not in "".join(cells):
            return np.array([float(cell) for cell in cells]), None
    except (TypeError, ValueError, OverflowError):
        pass
    numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if _is_missing(cell):
            continue
        if not _is_number(cell):
            return numbers, row
        numbers[row] = float(cell)
    return numbers, None


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().casefold() in MISSING)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(cell, str) or "_" not in cell


def _is_whole(cell: Any) -> bool:
    """Whether the text is a whole number written in the usual way, so that no two texts become the same number."""
    return (
        isinstance(cell, str)
        and len(cell) < 19
        and cell.isascii()
        and cell.lstrip("-").isdigit()
        and str(int(cell)) == cell
    )


def _listed(names: Any, most: int = 12) -> str:
    names = [repr(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- which column is what ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roles:
    """The columns chosen for each part; `time` has one name, or a year's and a part's, and may be `guessed`."""

    values: list[str]
    time: list[str]
    id: str | None
    inputs: list[str]
    label: str | None
    guessed: bool


def _roles(table: Table, values: Any, time: Any, id: Any, inputs: Any, label: Any) -> Roles:
    if values is None and time is None and id is None and all(name in table.columns for name in _NIXTLA):
        id, time, values = _NIXTLA
    chosen = {
        "values": [table.need("values", name) for name in _many(values)],
        "inputs": [table.need("inputs", name) for name in _many(inputs)],
        "id": [table.need("id", name) for name in _many(id)],
        "label": [table.need("label", name) for name in _many(label)],
        "time": [] if time is False else [table.need("time", name) for name in _many(time)],
    }
    for argument in ("id", "label", "time"):
        if len(chosen[argument]) > 1:
            raise InputError(f"`{argument}` is {_listed(chosen[argument])}; pass one column")
    _refuse_twice(chosen)
    taken = {name for names in chosen.values() for name in names}
    guessed = time is None and table.index is None
    if guessed:
        chosen["time"] = _guess_time(table, taken)
        taken |= set(chosen["time"])
    if values is None:
        chosen["values"] = [name for name in table.columns if name not in taken and table.is_numeric(name)]
    if not chosen["values"]:
        raise DataError(
            f"{table.source} has no numeric column left for `values`; its columns are {_listed(table.columns)}"
        )
    first = {argument: names[0] if names else None for argument, names in chosen.items()}
    return Roles(chosen["values"], chosen["time"], first["id"], chosen["inputs"], first["label"], guessed)


def _many(names: Any) -> list[Any]:
    single = isinstance(names, str) or not hasattr(names, "__iter__") or getattr(names, "ndim", 1) == 0
    return [] if names is None else [names] if single else list(names)


def _refuse_twice(chosen: dict[str, list[str]]) -> None:
    seen: dict[str, str] = {}
    for argument, names in chosen.items():
        for name in names:
            if name in seen:
                raise InputError(f"column {name!r} is in `{seen[name]}` and again in `{argument}`; give it one part")
            seen[name] = argument


def _guess_time(table: Table, taken: set[str]) -> list[str]:
    """The first column without a part that holds dates or is called like a time; with a year, its quarter or month.

    Names that could as well be those of values (`month`, `t`) count only on the first such column.
    """
    free = [name for name in table.columns if name not in taken]
    named = [name for name in free if name.casefold() in CLEAR_TIME_NAMES or _holds_dates(table.columns[name])]
    if free and free[0].casefold() in TIME_NAMES:
        named.insert(0, free[0])
    if not named:
        return []
    first = named[0]
    if first.casefold() in YEAR_NAMES:
        part = next((name for name in table.columns if name.casefold() in _PARTS and name not in taken), None)
        if part is not None and table.is_numeric(part):
            return [first, part]
    return [first]


def _holds_dates(cells: Any) -> bool:
    if isinstance(cells, np.ndarray):
        return bool(cells.dtype.kind == "M")
    if not cells or _is_number(cells[0]):
        return False
    try:
        return bool(parse_times(cells).dtype.kind == "M")
    except InputError:
        return False


# --- assembling -------------------------------------------------------------------------------------------------------


def assemble(
    table: Table, values: Any, time: Any, id: Any, inputs: Any, label: Any, sort: bool, season: int | None
) -> Sequences:
    """The `Sequences` of a table; the arguments are those of `statewise.sequences.build.from_frame`."""
    roles = _roles(table, values, time, id, inputs, label)
    observed = _matrix(table, roles.values)
    _refuse_empty(table, roles.values, observed)
    given = _complete_inputs(table, roles.inputs)
    labels = None if roles.label is None else np.array(table.names(roles.label))
    names = table.names(roles.id) if roles.id else None
    seen: dict[Hashable, int] = {}
    codes = np.array([seen.setdefault(name, len(seen)) for name in names or [0] * len(observed)])
    index = table.index if time is None else None
    order, times = _in_order(table, roles, index, codes, names, checks.Flag().check("sort", sort))
    lengths = np.bincount(codes)
    return Sequences(
        values=observed[order],
        lengths=lengths,
        inputs=None if given is None else given[order],
        times=times,
        labels=None if labels is None else labels[order],
        ids=tuple(seen) if names else (),
        columns=tuple(roles.values),
        input_columns=tuple(roles.inputs),
        season=season if season is not None or times is None else guess_season(longest(times, lengths)),
    )


def longest(times: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The times of the longest sequence."""
    which = int(np.argmax(lengths))
    start = int(np.sum(lengths[:which]))
    return times[start : start + int(lengths[which])]


def _matrix(table: Table, names: list[str]) -> np.ndarray:
    return np.column_stack([table.numbers(name) for name in names])


def _refuse_empty(table: Table, names: list[str], observed: np.ndarray) -> None:
    empty = np.isnan(observed).all(axis=0)
    if empty.any():
        name = names[int(np.flatnonzero(empty)[0])]
        raise DataError(
            f"{table.source}, column {name!r}: every cell is missing; fill the column, or choose others with `values`"
        )


def _complete_inputs(table: Table, names: list[str]) -> np.ndarray | None:
    if not names:
        return None
    given = _matrix(table, names)
    if np.isnan(given).any():
        row, column = (int(k) for k in np.argwhere(np.isnan(given))[0])
        raise DataError(
            f"{table.place(row, names[column])}: the input is missing, and a model cannot guess an input; fill it, or "
            "move the column to `values`"
        )
    return given


def _in_order(
    table: Table, roles: Roles, index: np.ndarray | None, codes: np.ndarray, names: Any, sort: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows sequence by sequence, by time if `sort`, and their times, strictly increasing in each sequence."""
    try:
        times = table.times(roles.time) if roles.time else index
        if sort and times is None:
            raise InputError("`sort` is True but there is no time to sort by; name the column with `time`")
        order = np.lexsort((times, codes)) if sort and times is not None else np.argsort(codes, kind="stable")
        if times is None:
            return order, None
        times = times[order]
        _check_times(table, times, codes[order], order, names)
        return order, times
    except DataError as error:
        if roles.guessed and roles.time:
            raise DataError(
                f"{error} ({roles.time[0]!r} was taken for the time; pass time=False if it is not)"
            ) from None
        raise


def _check_times(table: Table, times: np.ndarray, codes: np.ndarray, order: np.ndarray, names: Any) -> None:
    """Times must rise strictly within each sequence; `order` maps the given rows to the table's."""
    wrong = (times[1:] <= times[:-1]) & (codes[1:] == codes[:-1])
    if not wrong.any():
        return
    by_time = np.lexsort((times, codes))
    same = (times[by_time][1:] == times[by_time][:-1]) & (codes[by_time][1:] == codes[by_time][:-1])
    if same.any():
        at = int(np.flatnonzero(same)[0])
        first, second = sorted((int(order[by_time[at]]), int(order[by_time[at + 1]])))
        whose = f" for id {names[second]!r}" if names else ""
        fix = "" if names else ", or name the column that tells the sequences apart with `id`"
        raise DataError(
            f"{table.place(second)}: the time {time_text(times[by_time[at]])} is there twice{whose} "
            f"(first in {table.line(first)}); keep one row a time{fix}"
        )
    at = int(np.flatnonzero(wrong)[0])
    row = int(order[at + 1])
    whose = f" of id {names[row]!r}" if names else ""
    raise DataError(
        f"{table.place(row)}: the times{whose} are not sorted, {time_text(times[at])} is followed by "
        f"{time_text(times[at + 1])}; pass sort=True to sort them"
    )
