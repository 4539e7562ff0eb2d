"""Cutting sequences into earlier and later parts without leakage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.sequences.calendar import parse_times, time_text
from statewise.sequences.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Window:
    """One rolling-origin window.

    Args:
        index: its number, from 0 (oldest).
        past: what is known at the origin.
        future: at most `horizon` steps of each sequence from the origin on; its ids are among those of `past`.
        origins: (len(future),) the step of the original sequence at which its future starts (= its steps in `past`).
    """

    index: int
    past: Sequences
    future: Sequences
    origins: np.ndarray


def split(seqs: Sequences, fraction: Any = None, *, date: Any = None, by: str = "time") -> tuple[Sequences, Sequences]:
    """An earlier and a later part.

    Args:
        fraction: share of the rows (``by="sequence"``: of the sequences) in the earlier part, above 0 and below 1.
        date: in place of a fraction, the first time of the later part: a date, its text such as "1990" or "1990-06", or
            a number.
        by: "time": sequences with times are all cut at one common time, so that nothing in the earlier part is later
            than anything in the later part; sequences without times are cut each at the same fraction of its own
            length. "sequence": the last sequences are held out whole.

    Returns:
        (earlier, later). Rows are never dropped; a sequence that lies wholly on one side is only there, and one without
        times that has a single step is only in the earlier part.

    Raises:
        InputError: both or neither of `fraction` and `date` given, or one part would be empty.
    """
    by = checks.Choice(("time", "sequence")).check("by", by)
    if (fraction is None) == (date is None):
        raise InputError(
            "`split` needs a fraction or a date, and not both; pass for example fraction=0.8 or date='2000-01-01'"
        )
    if fraction is not None:
        fraction = checks.Real(0.0, 1.0, open_low=True).check("fraction", fraction)
        if fraction == 1.0:
            raise InputError("`fraction` is 1.0, which leaves nothing for the later part; pass a share below 1")
    if by == "sequence":
        return _by_sequence(seqs, fraction)
    if date is not None:
        return _at(seqs, _starts(seqs, _as_time(seqs, date)), f"`date` is {date!r}")
    if seqs.times is not None:
        return _at(seqs, _starts(seqs, _cut_time(seqs.times, fraction)), f"`fraction` is {fraction:g}")
    nearest = np.floor(fraction * seqs.lengths + 0.5).astype(np.int64)
    return _at(seqs, np.clip(nearest, 1, np.maximum(seqs.lengths - 1, 1)), f"`fraction` is {fraction:g}")


def _by_sequence(seqs: Sequences, fraction: float | None) -> tuple[Sequences, Sequences]:
    if fraction is None:
        raise InputError("`by` is 'sequence', which has no date; pass `fraction`, or by='time'")
    if len(seqs) < 2:
        raise InputError("there is 1 sequence, so none can be held out; use by='time'")
    kept = int(np.clip(np.floor(fraction * len(seqs) + 0.5), 1, len(seqs) - 1))
    return seqs[:kept], seqs[kept:]


def _at(seqs: Sequences, starts: np.ndarray, asked: str) -> tuple[Sequences, Sequences]:
    """Steps before and from `starts` (N,) of each sequence."""
    if not starts.any() or (starts == seqs.lengths).all():
        side = "later" if starts.any() else "earlier"
        span = (
            f" (times go from {time_text(seqs.times.min())} to {time_text(seqs.times.max())})"
            if seqs.times is not None
            else ""
        )
        raise InputError(f"{asked}, which leaves no row in the {side} part{span}; choose a cut inside the data")
    before = seqs.cut([(0, int(start)) for start in starts])
    after = seqs.cut([(int(start), int(length)) for start, length in zip(starts, seqs.lengths, strict=True)])
    return before, after


def _starts(seqs: Sequences, moment: Any) -> np.ndarray:
    """(N,) the first step of each sequence at or after a time."""
    before = np.concatenate([[0], np.cumsum(seqs.times < moment)])
    offsets = seqs.offsets
    return before[offsets[1:]] - before[offsets[:-1]]


def _cut_time(times: np.ndarray, fraction: float) -> Any:
    """The time whose share of rows before it is nearest to `fraction`, with rows on either side if that is possible."""
    distinct, counts = np.unique(times, return_counts=True)
    if len(distinct) == 1:
        return distinct[0]
    before = np.cumsum(counts)[:-1]
    return distinct[1:][np.abs(before - fraction * len(times)).argmin()]


def _as_time(seqs: Sequences, date: Any) -> Any:
    if seqs.times is None:
        raise InputError(
            f"`date` is {date!r} but the sequences have no times; pass `fraction`, or give the sequences times"
        )
    dated = np.issubdtype(seqs.times.dtype, np.datetime64)
    moment = parse_times([date], "date", guess=True)[0] if dated else checks.Real().check("date", date)
    if dated and not isinstance(moment, np.datetime64):
        raise InputError(f"`date` is {date!r} but the times are dates; pass for example '2000-01-01'")
    return moment


def rolling(seqs: Sequences, horizon: int, windows: int, stride: int | None = None) -> list[Window]:
    """`windows` rolling-origin windows, oldest first; the last one ends at the last step.

    Window w (of W, from 0) has its origin ``horizon + stride (W − 1 − w)`` steps before the end: of each sequence's own
    end where there are no times, and of the grid of all distinct times where there are, so that one origin holds for
    all sequences and no past is later than another sequence's future. A sequence with nothing from the origin on is in
    `past` only; one with nothing before the origin is left out of the window.

    Args:
        horizon: steps to forecast from each origin, from 1.
        windows: how many, from 1.
        stride: steps between origins; default `horizon`, so that the futures follow one another without overlap.

    Raises:
        InputError: there is not enough past; the message says which horizon and how many windows would fit.
    """
    horizon = checks.Integer(1).check("horizon", horizon)
    windows = checks.Integer(1).check("windows", windows)
    stride = checks.Integer(1).check("stride", horizon if stride is None else stride)
    grid = None if seqs.times is None else np.unique(seqs.times)
    _check_room(
        int(seqs.lengths.max()) if grid is None else len(grid), horizon, windows, stride, on_grid=grid is not None
    )
    result = []
    for index in range(windows):
        back = horizon + stride * (windows - 1 - index)
        starts = seqs.lengths - back if grid is None else _starts(seqs, grid[-back])
        result.append(_window(seqs, index, np.maximum(starts, 0), horizon))
    return result


def _window(seqs: Sequences, index: int, starts: np.ndarray, horizon: int) -> Window:
    ends = np.where(starts > 0, np.minimum(starts + horizon, seqs.lengths), starts)
    evaluated = ends > starts
    if not evaluated.any():
        raise InputError(
            f"no sequence has steps on both sides of the origin of window {index}; choose another `horizon`, fewer "
            "`windows`, or sequences whose times overlap"
        )
    return Window(
        index=index,
        past=seqs.cut([(0, int(start)) for start in starts]),
        future=seqs.cut([(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]),
        origins=starts[evaluated],
    )


def _check_room(steps: int, horizon: int, windows: int, stride: int, on_grid: bool) -> None:
    """Refuse windows whose first origin would have nothing before it."""
    needed = horizon + stride * (windows - 1) + 1
    if needed <= steps:
        return
    have = f"there are {steps} distinct times" if on_grid else f"the longest sequence has {steps} steps"
    fitting = (steps - 1 - horizon) // stride + 1
    shorter = (steps - 1) // windows if stride == horizon else steps - 1 - stride * (windows - 1)
    ways = [f"`windows` up to {fitting}"] if fitting >= 1 else []
    ways += [f"`horizon` up to {shorter}"] if shorter >= 1 else []
    fix = f"use {' or '.join(ways)}" if ways else "use a shorter `horizon` and fewer `windows`, or more data"
    raise InputError(
        f"{windows} windows of horizon {horizon} (stride {stride}) need {needed} steps, one of them before the first "
        f"origin, but {have}; {fix}"
    )
