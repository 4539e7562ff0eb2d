"""The diagonal linear recurrence h[t] = a[t] h[t−1] + b[t], one multiplication and one addition a number, forwards and backwards.

Nothing mixes the columns, so the time of a step is that of reading a and b and writing h: one sequential loop comes near the
bandwidth of memory, and a parallel scan, which reads and writes them several times over, does not.

Kernels see matrices: row o T + t is step t of the sequences in the outer axis o, its C columns are those of the middle and the inner axis. Real
numbers go by blocks (`_lanes`), and results that the caches could not hold are written past them; what the next step needs of a row is kept apart, in
`carried` (outer, C). Each call does the outer axis from o0 to o1 and the segments m0 … m1 − 1 of `inner` columns. Segment m has `lengths[o, m]`
steps; later ones are not read, and there h and the gradients are 0.

The gradient is that of Re Σ conj(g) h, PyTorch's convention for complex numbers:
d[t] = g[t] + conj(a[t+1]) d[t+1], ∂b[t] = d[t], ∂a[t] = d[t] conj(h[t−1]), ∂h[0] = conj(a[1]) d[1].
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from statewise.kernels import _threads
from statewise.kernels._jit import jit
from statewise.kernels._lanes import BLOCK_BYTES, load, store, width
from statewise.kernels._past_caches import store_past

_WORTH_SHARING = 1_000_000  # numbers; with fewer, waking a thread takes as long as it saves
_PARTS = 2  # for each thread
_SEGMENT = 512  # columns at least, where they are not bound to sequences
_PAST_GRADIENTS, _PAST_STATES = 2**22, 2**24  # bytes from which results go past the caches; the states are read again


@jit(counted=False)
def _whole_blocks_forward(a, a_row, b, row, carried, o, h, j0, j1, past):
    lanes, j = width(b), j0
    while j + lanes <= j1:
        value = load(a, a_row, j) * load(carried, o, j) + load(b, row, j)
        store(carried, o, j, value)
        if past:
            store_past(h, row, j, value)
        else:
            store(h, row, j, value)
        j += lanes
    return j


@jit(counted=False)
def _whole_blocks_backward(a, a_row, before, before_row, g, row, carried, o, da, da_row, db, j0, j1, vary, past):
    lanes, j = width(g), j0
    while j + lanes <= j1:
        d = load(g, row, j) + load(carried, o, j)
        product = d * load(before, before_row, j)
        if not vary:
            store(db, row, j, d)
            store(da, da_row, j, load(da, da_row, j) + product)
        elif past:
            store_past(db, row, j, d)
            store_past(da, da_row, j, product)
        else:
            store(db, row, j, d)
            store(da, da_row, j, product)
        store(carried, o, j, d * load(a, a_row, j))
        j += lanes
    return j


def _blocks_forward(*row: Any) -> Any:
    """A row's whole blocks, where its numbers are real; returns the column behind them."""
    return row[-3] if np.iscomplexobj(row[2]) else _whole_blocks_forward(*row)


def _blocks_backward(*row: Any) -> Any:
    """As `_blocks_forward`."""
    return row[-4] if np.iscomplexobj(row[4]) else _whole_blocks_backward(*row)


@overload(_blocks_forward, strict=False)
def _overload_blocks_forward(*row: Any) -> Any:
    if isinstance(row[2].dtype, types.Float):
        return lambda *row: _whole_blocks_forward(*row)
    return lambda *row: row[-3]


@overload(_blocks_backward, strict=False)
def _overload_blocks_backward(*row: Any) -> Any:
    if isinstance(row[4].dtype, types.Float):
        return lambda *row: _whole_blocks_backward(*row)
    return lambda *row: row[-4]


@jit(fast=True)
def forward(a, b, lengths, carried, h, inner, vary, past, o0, o1, m0, m1):
    """h (outer T, C) from b of that shape, a of that shape (`vary`) or (1, C), and lengths (outer, segments); `carried` is the state before."""
    steps = b.shape[0] // lengths.shape[0]
    for o in range(o0, o1):
        for row in range(o * steps, (o + 1) * steps):
            a_row = row if vary else 0
            for m in range(m0, m1):
                j0, j1 = m * inner, (m + 1) * inner
                if row - o * steps >= lengths[o, m]:
                    for j in range(j0, j1):
                        h[row, j] = 0
                else:
                    for j in range(_blocks_forward(a, a_row, b, row, carried, o, h, j0, j1, past), j1):
                        carried[o, j] = a[a_row, j] * carried[o, j] + b[row, j]
                        h[row, j] = carried[o, j]


@jit(fast=True)
def backward(a, start, lengths, h, g, carried, da, db, inner, vary, past, o0, o1, m0, m1):
    """da and db from the gradient g of h; `carried`, 0 on entry, becomes that of start. Of one a for all steps, da (outer, C) is 0 on entry."""
    steps = h.shape[0] // lengths.shape[0]
    for o in range(o0, o1):
        for back in range(steps):
            t = steps - 1 - back
            row = o * steps + t
            a_row, da_row = (row, row) if vary else (0, o)
            for m in range(m0, m1):
                j0, j1 = m * inner, (m + 1) * inner
                if t >= lengths[o, m]:
                    for j in range(j0, j1):
                        db[row, j] = 0
                    if vary:
                        for j in range(j0, j1):
                            da[row, j] = 0
                    continue
                before, before_row = (h, row - 1) if t > 0 else (start, o)
                j0 = _blocks_backward(
                    a, a_row, before, before_row, g, row, carried, o, da, da_row, db, j0, j1, vary, past
                )
                for j in range(j0, j1):
                    d = g[row, j] + carried[o, j]
                    db[row, j] = d
                    product = d * before[before_row, j].conjugate()
                    da[da_row, j] = product if vary else da[da_row, j] + product
                    carried[o, j] = a[a_row, j].conjugate() * d


# --- launchers --------------------------------------------------------------------------------------------------------


def scan(
    a: np.ndarray, b: np.ndarray, start: np.ndarray, lengths: np.ndarray | None, batch_first: bool, h: np.ndarray
) -> None:
    """Fill h with the recurrence; all arrays contiguous and of one type.

    Args:
        a: (T, B, H), or (B, T, H) if batch_first; or (H,), the same at every step.
        b, h: (T, B, H) or (B, T, H).
        start: (B, H).
        lengths: (B,) int64, or None for all T.
    """
    view, ends, factor = _layout(a, b, lengths, batch_first)
    carried = start.copy().reshape(ends.shape[0], -1)
    past = _goes_past(_PAST_STATES, view[3], h)
    given = (factor, _rows(b, view), ends, carried, _rows(h, view), view[3], a.ndim > 1, past)
    _share(lambda *box: forward(*given, *box), view)


def scan_gradient(
    a: np.ndarray,
    start: np.ndarray,
    lengths: np.ndarray | None,
    batch_first: bool,
    h: np.ndarray,
    g: np.ndarray,
    da: np.ndarray,
    db: np.ndarray,
    dstart: np.ndarray,
) -> None:
    """Fill da, db (as b) and dstart (as start; 0 before) from g, the gradient of h.

    da is as a; or, where a is (H,), it is (B, H) and 0 before, and its sum over B is the gradient. dstart is 0 before.
    """
    view, ends, factor = _layout(a, h, lengths, batch_first)
    first, small = start.reshape(ends.shape[0], -1), dstart.reshape(ends.shape[0], -1)
    past = a.ndim > 1 and _goes_past(_PAST_GRADIENTS, view[3], da, db)
    out = (small, da.reshape(len(small) if a.ndim == 1 else len(factor), -1), _rows(db, view))
    given = (factor, first, ends, _rows(h, view), _rows(g, view), *out, view[3], a.ndim > 1, past)
    _share(lambda *box: backward(*given, *box), view)


View = tuple[int, int, int, int]


def _rows(array: np.ndarray, view: View) -> np.ndarray:
    return array.reshape(view[0] * view[1], -1)


def _goes_past(least: int, inner: int, *results: np.ndarray) -> bool:
    """Whether results are large, and their blocks lie at multiples of a block's size."""
    fits = all(out.ctypes.data % BLOCK_BYTES == 0 and out.nbytes >= least for out in results)
    return fits and inner * results[0].itemsize % BLOCK_BYTES == 0


def _layout(
    a: np.ndarray, b: np.ndarray, lengths: np.ndarray | None, batch_first: bool
) -> tuple[View, np.ndarray, np.ndarray]:
    """The axes (outer, time, middle, inner), the lengths (outer, middle), and a as rows.

    Threads share the outer or the middle axis: sequences, or, where all are of one length, segments of columns.
    """
    steps, count, hidden = (b.shape[1], b.shape[0], b.shape[2]) if batch_first else b.shape
    if batch_first and count > 1:
        view = (count, steps, 1, hidden)
    elif lengths is None:
        columns, lanes = count * hidden, max(1, BLOCK_BYTES // b.itemsize)
        segments = max(s for s in (1, 2, 4, 8) if s == 1 or (columns % (s * lanes) == 0 and columns >= s * _SEGMENT))
        view = (1, steps, segments, columns // segments)
    else:
        view = (1, steps, count, hidden)
    shape = (view[0], view[2])
    ends = np.full(shape, steps, dtype=np.int64) if lengths is None else lengths.reshape(shape)
    factor = np.tile(a, view[2] * view[3] // hidden)[None] if a.ndim == 1 else _rows(a, view)
    return view, ends, factor


def _share(work: Callable[[int, int, int, int], None], view: View) -> None:
    """Call ``work(o0, o1, m0, m1)`` for parts that cover all sequences, in threads where that pays."""
    outer, steps, middle, inner = view
    by_outer, threads = outer > 1, _threads.thread_count()
    size = outer if by_outer else middle
    if threads == 1 or size == 1 or outer * steps * middle * inner < _WORTH_SHARING:
        work(0, outer, 0, middle)
        return
    bounds = np.linspace(0, size, min(_PARTS * threads, size) + 1).astype(np.int64).tolist()

    def work_on(part: tuple[int, int]) -> None:
        if by_outer:
            work(*part, 0, middle)
        else:
            work(0, outer, *part)

    _threads.share(work_on, list(pairwise(bounds)), threads)
