"""One step of a stack of recurrent layers, as data arrive.

`x` (d,) or (B, d) and the state `h`, `c` (L, H) or (L, B, H) are C-contiguous arrays, or their addresses; `new` and `y` receive the state and the
last layer's output, `new` with an axis of two in front for the LSTM's h and c. A row of `table` (L, 13) int64 describes a layer: d, the entries of a
bias (0 if there is none), the gates G, and the addresses of W_ih, W_hh, b_ih, b_hh (torch's, read at every step, so that they may change), of the
scratch `saved` (1, 6 Hp), `kept`, `state` and `cell` (1, Hp), and of `into` and `onto` (2, G), as `_weights` has them;
and the number of the kind, as in `recurrence`.

The scratch belongs to the stack, so these kernels keep the GIL: they are done before another thread would have it.
"""

from __future__ import annotations

from statewise.kernels import elman, gru, lstm
from statewise.kernels._address import address, array_at, is_whole
from statewise.kernels._ends_of_rows import load_part
from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, total, width, zeros
from statewise.kernels.recurrence import GRU, LSTM, RELU

BLOCKS = 6  # of `saved`, as many as the LSTM needs


@jit(counted=False)
def _dot(sums, w, k, x, row, count):
    """`sums` and the products w[k, j] x[row, j] of `count` columns, lane by lane."""
    lanes = width(w)
    whole = count - count % lanes
    for j in range(0, whole, lanes):
        sums = sums + load(w, k, j) * load(x, row, j)
    if whole < count:
        sums = sums + load_part(w, k, whole, count - whole) * load_part(x, row, whole, count - whole)
    return sums


@jit(counted=False)
def _weigh(own, k, size, saved, x, h, row, padded):
    """`saved` ← the sums that the gates of layer k receive from x[row] and h[row]; padding stays 0. `own` is the table."""
    inputs, biases, gates = own[k, 0], own[k, 1], own[k, 2]
    w_ih, w_hh = array_at(own[k, 3], gates * size, inputs, saved), array_at(own[k, 4], gates * size, size, saved)
    b_ih, b_hh = array_at(own[k, 5], 1, biases, saved), array_at(own[k, 6], 1, biases, saved)
    blocks = array_at(own[k, 11], 2, gates, own)
    for g in range(gates):
        left, right = blocks[0, g] * padded, blocks[1, g] * padded
        for j in range(size):
            i = g * size + j
            first, second = (b_ih[0, i], b_hh[0, i]) if biases else (saved.dtype.type(0), saved.dtype.type(0))
            sums = _dot(zeros(saved), w_ih, i, x, row, inputs)
            if left == right:
                saved[0, left + j] = total(_dot(sums, w_hh, i, h, row, size)) + (first + second)
            else:
                saved[0, left + j] = total(sums) + first
                saved[0, right + j] = total(_dot(zeros(saved), w_hh, i, h, row, size)) + second


@jit(counted=False)
def _cut(source, row, target, target_row, size):
    """target[target_row] ← the first numbers of source[row]."""
    for j in range(size):
        target[target_row, j] = source[row, j]


@jit(counted=False)
def _stack(x, h, c, new, new_c, y, rows, size, table, like):
    """All layers, by addresses: x (B, d), h, c, new and new_c (L, B, H), y (B, H)."""
    layers, lanes = table.shape[0], width(like)
    padded, step = (size + lanes - 1) // lanes * lanes, rows * size * like.itemsize
    given = array_at(x, rows, table[0, 0], like)
    for k in range(layers):
        before, cells = array_at(h + k * step, rows, size, like), array_at(c + k * step, rows, size, like)
        after, cells_after = array_at(new + k * step, rows, size, like), array_at(new_c + k * step, rows, size, like)
        saved, kept = array_at(table[k, 7], 1, BLOCKS * padded, like), array_at(table[k, 8], 1, padded, like)
        state, cell = array_at(table[k, 9], 1, padded, like), array_at(table[k, 10], 1, padded, like)
        kind = table[k, 12]
        for i in range(rows):
            _weigh(table, k, size, saved, given, before, i, padded)
            if kind == LSTM:
                _cut(cells, i, cell, 0, size)
                lstm.advance(saved, 0, 0, 1, None, None, state, cell, 0)
                _cut(cell, 0, cells_after, i, size)
            elif kind == GRU:
                _cut(before, i, kept, 0, size)
                gru.advance(saved, 0, 1, kept, 0, state, 0)
            else:
                elman.advance(saved, 0, 1, state, 0, kind == RELU)
            _cut(state, 0, after, i, size)
        given = after
    shown = array_at(y, rows, size, like)
    for i in range(rows):
        _cut(given, i, shown, i, size)


@jit(held=True)
def step(x, h, new, y, table):
    """`new` (L, H) or (L, B, H) and `y` ← one step of a stack of RNNs or GRUs; False where `x` or `h` does not lie in one piece."""
    size, place, to = y.shape[-1], address(h), address(new)
    like = array_at(place, 1, 1, y)
    whole = is_whole(x) and is_whole(h)
    if whole:
        _stack(address(x), place, place, to, to, address(y), y.size // size, size, table, like)
    return whole


@jit(held=True)
def pair_step(x, h, c, new, y, table):
    """`new` (2, L, H) or (2, L, B, H) and `y` ← one step of a stack of LSTMs; False as in `step`."""
    size, place, to = y.shape[-1], address(h), address(new)
    like, half = array_at(place, 1, 1, y), new.size // 2 * new.itemsize
    whole = is_whole(x) and is_whole(h) and is_whole(c)
    if whole:
        _stack(address(x), place, address(c), to, to + half, address(y), y.size // size, size, table, like)
    return whole
