"""The diagonal linear recurrence h[t] = a[t] h[t−1] + b[t], one multiplication and one addition a number, forwards and backwards.

Nothing mixes the columns, so the time of a step is that of reading a and b and writing h: one sequential loop comes near the
bandwidth of memory, and a parallel scan, which reads and writes them several times over, does not.

Arrays have the axes (outer, time, middle, inner), contiguous: (batch, time, 1, hidden) or (1, time, batch, hidden). Each kernel does the
sequences o0 … o1 − 1 of the outer and m0 … m1 − 1 of the middle axis. A sequence's steps from its length on are not read; there h and
the gradients are 0. The innermost loops touch few arrays, by the plainest indices, or LLVM would not vectorise them.

The gradient is that of Re Σ conj(g) h, PyTorch's convention for complex numbers:
d[t] = g[t] + conj(a[t+1]) d[t+1], ∂b[t] = d[t], ∂a[t] = d[t] conj(h[t−1]), ∂h[0] = conj(a[1]) d[1].
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from statewise.kernels import _threads
from statewise.kernels._jit import jit

_WORTH_SHARING = 1_000_000  # numbers; with fewer, waking a thread takes as long as it saves
_PARTS = 2  # for each thread


@jit(fast=True)
def forward(a, b, start, lengths, h, o0, o1, m0, m1):
    """h (outer, T, middle, inner) from a, b of the same shape, start (outer, middle, inner) and lengths (outer, middle)."""
    for o in range(o0, o1):
        for t in range(h.shape[1]):
            for m in range(m0, m1):
                if t >= lengths[o, m]:
                    for k in range(h.shape[3]):
                        h[o, t, m, k] = 0
                elif t == 0:
                    for k in range(h.shape[3]):
                        h[o, 0, m, k] = a[o, 0, m, k] * start[o, m, k] + b[o, 0, m, k]
                else:
                    for k in range(h.shape[3]):
                        h[o, t, m, k] = a[o, t, m, k] * h[o, t - 1, m, k] + b[o, t, m, k]


@jit(fast=True)
def forward_constant(a, b, start, lengths, h, o0, o1, m0, m1):
    """`forward` with one a (inner,) for all steps and sequences."""
    for o in range(o0, o1):
        for t in range(h.shape[1]):
            for m in range(m0, m1):
                if t >= lengths[o, m]:
                    for k in range(h.shape[3]):
                        h[o, t, m, k] = 0
                elif t == 0:
                    for k in range(h.shape[3]):
                        h[o, 0, m, k] = a[k] * start[o, m, k] + b[o, 0, m, k]
                else:
                    for k in range(h.shape[3]):
                        h[o, t, m, k] = a[k] * h[o, t - 1, m, k] + b[o, t, m, k]


@jit(fast=True)
def backward(a, start, lengths, h, g, da, db, dstart, o0, o1, m0, m1):
    """da, db and dstart from the gradient g of h; where a length is 0, dstart stays as it is."""
    steps = h.shape[1]
    for o in range(o0, o1):
        for back in range(steps):
            t = steps - 1 - back
            for m in range(m0, m1):
                if t >= lengths[o, m]:
                    for k in range(h.shape[3]):
                        db[o, t, m, k] = 0
                    for k in range(h.shape[3]):
                        da[o, t, m, k] = 0
                    continue
                if t == lengths[o, m] - 1:
                    for k in range(h.shape[3]):
                        db[o, t, m, k] = g[o, t, m, k]
                else:
                    for k in range(h.shape[3]):
                        db[o, t, m, k] = g[o, t, m, k] + a[o, t + 1, m, k].conjugate() * db[o, t + 1, m, k]
                if t > 0:
                    for k in range(h.shape[3]):
                        da[o, t, m, k] = db[o, t, m, k] * h[o, t - 1, m, k].conjugate()
                else:
                    for k in range(h.shape[3]):
                        da[o, 0, m, k] = db[o, 0, m, k] * start[o, m, k].conjugate()
                    for k in range(h.shape[3]):
                        dstart[o, m, k] = a[o, 0, m, k].conjugate() * db[o, 0, m, k]


@jit(fast=True)
def backward_constant(a, start, lengths, h, g, da, db, dstart, o0, o1, m0, m1):
    """`backward` with one a (inner,); to da (outer, middle, inner) is added what each sequence contributes."""
    steps = h.shape[1]
    for o in range(o0, o1):
        for back in range(steps):
            t = steps - 1 - back
            for m in range(m0, m1):
                if t >= lengths[o, m]:
                    for k in range(h.shape[3]):
                        db[o, t, m, k] = 0
                    continue
                if t == lengths[o, m] - 1:
                    for k in range(h.shape[3]):
                        db[o, t, m, k] = g[o, t, m, k]
                else:
                    for k in range(h.shape[3]):
                        db[o, t, m, k] = g[o, t, m, k] + a[k].conjugate() * db[o, t + 1, m, k]
                if t > 0:
                    for k in range(h.shape[3]):
                        da[o, m, k] += db[o, t, m, k] * h[o, t - 1, m, k].conjugate()
                else:
                    for k in range(h.shape[3]):
                        da[o, m, k] += db[o, 0, m, k] * start[o, m, k].conjugate()
                    for k in range(h.shape[3]):
                        dstart[o, m, k] = a[k].conjugate() * db[o, 0, m, k]


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
    constant = a.ndim == 1
    view, ends = _layout(b, constant, lengths, batch_first)
    kernel = forward_constant if constant else forward
    given = (
        a if constant else a.reshape(view),
        b.reshape(view),
        start.reshape(_sequences(view)),
        ends,
        h.reshape(view),
    )
    _share(lambda *box: kernel(*given, *box), view)


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

    da is as a; or, where a is (H,), it is (B, H) and 0 before, and its sum over B is the gradient.
    """
    constant = a.ndim == 1
    view, ends = _layout(h, constant, lengths, batch_first)
    small = _sequences(view)
    kernel = backward_constant if constant else backward
    given = (a if constant else a.reshape(view), start.reshape(small), ends, h.reshape(view), g.reshape(view))
    out = (da.reshape(small if constant else view), db.reshape(view), dstart.reshape(small))
    _share(lambda *box: kernel(*given, *out, *box), view)


View = tuple[int, int, int, int]


def _sequences(view: View) -> tuple[int, int, int]:
    return view[0], view[2], view[3]


def _layout(b: np.ndarray, constant: bool, lengths: np.ndarray | None, batch_first: bool) -> tuple[View, np.ndarray]:
    """The four axes, and the lengths (outer, middle). Threads share sequences; a single one goes by halves of its columns."""
    steps, count, hidden = (b.shape[1], b.shape[0], b.shape[2]) if batch_first else b.shape
    if count == 1 and lengths is None and not constant and hidden % 32 == 0:
        view = (1, steps, 2, hidden // 2)
    elif batch_first:
        view = (count, steps, 1, hidden)
    else:
        view = (1, steps, count, hidden)
    shape = (view[0], view[2])
    return view, np.full(shape, steps, dtype=np.int64) if lengths is None else lengths.reshape(shape)


def _share(work: Callable[[int, int, int, int], None], view: View) -> None:
    """Call ``work(o0, o1, m0, m1)`` for parts that cover all sequences, in threads where that pays.

    The caller takes parts too, and does not wait for a thread that has not begun, so that a busy machine costs little.
    """
    outer, steps, middle, inner = view
    by_outer, threads = outer > 1, _threads.thread_count()
    size = outer if by_outer else middle
    if threads == 1 or size == 1 or outer * steps * middle * inner < _WORTH_SHARING:
        work(0, outer, 0, middle)
        return
    bounds = np.linspace(0, size, min(_PARTS * threads, size) + 1).astype(np.int64).tolist()
    parts = iter(list(pairwise(bounds)))

    def drain() -> None:
        for first, last in parts:
            if by_outer:
                work(first, last, 0, middle)
            else:
                work(0, outer, first, last)

    helpers = [_threads.pool().submit(drain) for _ in range(min(threads, len(bounds) - 1) - 1)]
    drain()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
