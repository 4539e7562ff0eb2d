"""Making `Sequences`: from anything that users have at hand, and from arrays. Frames are in `frames`."""

from __future__ import annotations

import numbers
import os
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.sequences.calendar import UnreadableTimeError, guess_season, parse_times
from statewise.sequences.frames import from_frame, is_frame, to_frame
from statewise.sequences.sequences import Sequences
from statewise.sequences.table import longest

__all__ = ["as_sequences", "from_arrays", "from_frame", "to_frame"]

_WANTED = "pass `Sequences`, a (T,) or (T, p) array of numbers, a list of such arrays, or a pandas or polars frame"


def as_sequences(data: Any) -> Sequences:
    """`data` as `Sequences`.

    Args:
        data: `Sequences` (returned as they are); a (T,) or (T, p) numeric array or nested list of numbers, one
            sequence; a list or tuple of arrays, one sequence each; a pandas, polars or pyarrow frame or series, read by
            `from_frame`.

    Raises:
        InputError: anything else; the message says what to pass.
    """
    if isinstance(data, Sequences):
        return data
    if isinstance(data, (list, tuple)):
        if any(getattr(item, "ndim", 0) for item in data):
            return from_arrays(data)
        return from_arrays([_nested(data)])
    if is_frame(data):
        return from_frame(data)
    if getattr(data, "ndim", 0) == 3:
        raise InputError(f"`data` has shape {tuple(data.shape)}; for several sequences of equal length pass list(data)")
    if getattr(data, "ndim", 0) and hasattr(data, "__array__"):
        return from_arrays([data])
    hint = "; `statewise.read` reads files" if isinstance(data, (str, os.PathLike)) else ""
    raise InputError(f"`data` is {checks.shown(data)}; {_WANTED}{hint}")


def _nested(data: Any) -> np.ndarray:
    """A list of numbers, or of equally long lists of numbers, as an array."""
    sizes = {len(item) if isinstance(item, (list, tuple)) else None for item in data}
    if not sizes:
        raise InputError(f"`data` is empty; {_WANTED}")
    if len(sizes) > 1:
        raise InputError(
            "`data` is a list of lists of different lengths; for several sequences use Sequences.from_arrays(data), "
            "for one sequence give every step the same number of columns"
        )
    flat = data if sizes == {None} else [cell for row in data for cell in row]
    odd = next((cell for cell in flat if not (cell is None or isinstance(cell, (numbers.Real, np.number)))), None)
    if odd is not None:
        raise InputError(f"`data` contains {checks.shown(odd)}, which is not a number; {_WANTED}")
    try:
        return np.array(data, dtype=np.float64)
    except OverflowError:
        raise InputError("`data` has a whole number too large for double precision; give it in larger units") from None


# --- arrays -----------------------------------------------------------------------------------------------------------


def from_arrays(
    arrays: Sequence[Any],
    inputs: Sequence[Any] | None = None,
    times: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    ids: Sequence[Hashable] | None = None,
    columns: Sequence[str] | None = None,
    input_columns: Sequence[str] | None = None,
    season: int | None = None,
) -> Sequences:
    """Sequences from one array each.

    Args:
        arrays: (T,) or (T, p) numbers each, NaN or None where missing.
        inputs: (T,) or (T, u) numbers each, in the same order.
        times: (T,) dates or numbers each; see `statewise.sequences.calendar.parse_times`.
        labels: either one label for each sequence, or (T,) labels for each.
        ids, columns, input_columns: names; see `Sequences`.
        season: steps in a season; default: guessed from the times of the longest sequence; 1 says that there is none.

    Raises:
        InputError: naming the sequence that is wrong and the fix.
    """
    values = _pack("arrays", arrays)
    lengths = [len(item) for item in values]
    exogenous = None if inputs is None else _pack("inputs", inputs, lengths)
    stamps = None if times is None else _pack_times(times, lengths)
    if season is None and stamps is not None:
        season = guess_season(longest(stamps, np.array(lengths)))
    return Sequences(
        values=np.concatenate(values),
        lengths=np.array(lengths),
        inputs=None if exogenous is None else np.concatenate(exogenous),
        times=stamps,
        labels=None if labels is None else _pack_labels(labels, lengths),
        ids=ids,  # type: ignore[arg-type]  # `Sequences` judges and completes the names
        columns=columns,  # type: ignore[arg-type]  # as ids
        input_columns=input_columns,  # type: ignore[arg-type]  # as ids
        season=season,
    )


def _listed(name: str, items: Any, lengths: list[int] | None) -> list[Any]:
    """The items as a list with one entry a sequence."""
    if (
        isinstance(items, (str, bytes))
        or not hasattr(items, "__iter__")
        or getattr(items, "ndim", 1) == 0
        or is_frame(items)
        or isinstance(items, Sequences)
    ):
        raise InputError(f"`{name}` is {checks.shown(items)}; pass a list with one array a sequence")
    each = list(items)
    if lengths is None and not each:
        raise InputError(f"`{name}` is empty; pass at least one array")
    if lengths is not None and len(each) != len(lengths):
        raise InputError(f"`{name}` has {len(each)} entries but `arrays` has {len(lengths)}; pass one a sequence")
    return each


def _pack(name: str, items: Any, lengths: list[int] | None = None) -> list[np.ndarray]:
    """Each item as (T, p) float64 with the same p; `lengths` are the sizes that they must have."""
    each = [_one(name, index, item) for index, item in enumerate(_listed(name, items, lengths))]
    for index, item in enumerate(each):
        if item.shape[1] != each[0].shape[1]:
            others = "the others have" if index > 1 or len(each) > 2 else f"`{name}`[0] has"
            raise InputError(
                f"`{name}`[{index}] has {item.shape[1]} columns but {others} {each[0].shape[1]}; give all the same "
                "columns"
            )
    _check_lengths(name, each, lengths)
    return each


def _check_lengths(name: str, each: Sequence[Any], lengths: list[int] | None) -> None:
    for index, (item, length) in enumerate(zip(each, lengths or (), strict=lengths is not None)):
        if len(item) != length:
            raise InputError(
                f"`{name}`[{index}] has {len(item)} rows but `arrays`[{index}] has {length}; pass one a step"
            )


def _one(name: str, index: int, item: Any) -> np.ndarray:
    """One (T,) or (T, p) item as (T, p) float64."""
    label = f"`{name}`[{index}]"
    if isinstance(item, np.ma.MaskedArray):
        item = np.ma.filled(item.astype(np.float64), np.nan)
    try:
        array = np.asarray(item)
        clean = array.astype(np.float64) if array.dtype.kind in "biufO" else None
    except (TypeError, ValueError, RuntimeError, OverflowError):
        clean = None
    if clean is None or (array.dtype.kind == "O" and any(isinstance(cell, str) for cell in array.flat)):
        raise InputError(
            f"{label} is {checks.shown(item)}, which is not an array of numbers; pass (T,) or (T, p) numbers"
        )
    if clean.ndim not in (1, 2):
        hint = "; for a single sequence pass it in a list, [array]" if clean.ndim == 0 else ""
        raise InputError(f"{label} has shape {clean.shape}; pass shape (T,) or (T, p){hint}")
    if 0 in clean.shape:
        raise InputError(
            f"{label} has shape {clean.shape}; pass at least one step and one column, or leave the sequence out"
        )
    if np.isinf(clean).any():
        step = int(np.argwhere(np.isinf(clean))[0][0])
        raise InputError(f"{label} is infinite at step {step}; pass finite numbers, NaN where missing")
    if checks.too_large(clean).any():
        step = int(np.argwhere(checks.too_large(clean))[0][0])
        raise InputError(f"{label} is {clean[checks.too_large(clean)][0]:g} at step {step}; {checks.UNITS}")
    return clean if clean.ndim == 2 else clean[:, None]


def _pack_times(times: Any, lengths: list[int]) -> np.ndarray:
    each = [_parsed(index, item) for index, item in enumerate(_listed("times", times, lengths))]
    _check_lengths("times", each, lengths)
    odd = next((index for index, item in enumerate(each) if item.dtype != each[0].dtype), None)
    if odd is not None:
        raise InputError(
            f"`times`[0] are {_kind(each[0])} but `times`[{odd}] are {_kind(each[odd])}; give all in one kind"
        )
    for index, item in enumerate(each):
        falls = np.flatnonzero(item[1:] <= item[:-1])
        if falls.size:
            raise InputError(
                f"`times`[{index}] does not increase at step {falls[0] + 1}; sort each sequence, one row a time"
            )
    return np.concatenate(each)


def _parsed(index: int, item: Any) -> np.ndarray:
    try:
        return parse_times(item, f"times[{index}]")
    except UnreadableTimeError as error:
        raise InputError(f"`times`[{index}][{error.row}] {error.problem}") from None


def _kind(times: np.ndarray) -> str:
    return "dates" if times.dtype.kind == "M" else "numbers"


def _pack_labels(labels: Any, lengths: list[int]) -> np.ndarray:
    each = _listed("labels", labels, lengths)
    nested = [np.ndim(item) == 1 for item in each]
    if not any(nested):
        return np.array(each)
    if not all(nested):
        index = nested.index(False)
        raise InputError(
            f"`labels`[{index}] is one label but others are one a step; give one a sequence, or one a step, throughout"
        )
    _check_lengths("labels", each, lengths)
    return np.concatenate([np.asarray(item) for item in each])
