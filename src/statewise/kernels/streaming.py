"""One step of a stack of recurrent layers, as data arrive.

`x` (d,) or (B, d) and the state `h`, `c` (L, H) or (L, B, H) are C-contiguous arrays, or their addresses; `new` and `y` receive the state and the
last layer's output, `new` with an axis of two in front for the LSTM's h and c. A row of `table` (L, 10) int64 describes a layer: d, the entries of a
bias (0 if there is none), the gates G, and the addresses of W_ih, W_hh, b_ih, b_hh (torch's), `seen`, `packed` and `blocks`.

`packed` (d + 1 + Hp, blocks Hp) is `weight` of `_weights`, made from the parameters when they were `seen` (1, all their entries); a step compares
and packs again what has changed, which costs a small part of the step. `blocks` (2, G) are `into` and `onto`.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels import elman, gru, lstm
from statewise.kernels._address import address, array_at
from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, positive, total, width, zeros
from statewise.kernels._weights import pack_forward


@jit
def _apart(part, seen, k, place):
    """|differences| of a block."""
    d = load(part, 0, k) - load(seen, 0, place + k)
    return positive(d) + positive(d * -1.0)


@jit
def _changed(part, seen, place):
    """Whether a parameter differs from the entries of `seen` from `place` on, which are overwritten then. NaN differs from itself."""
    count, lanes = part.shape[1], width(part)
    whole = count - count % lanes
    fours = count - count % (4 * lanes)
    sums = zeros(part)
    for k in range(0, fours, 4 * lanes):  # four at a time, lest each addition wait for the one before
        left = _apart(part, seen, k, place) + _apart(part, seen, k + lanes, place)
        right = _apart(part, seen, k + 2 * lanes, place) + _apart(part, seen, k + 3 * lanes, place)
        sums = sums + (left + right)
    for k in range(fours, whole, lanes):
        sums = sums + _apart(part, seen, k, place)
    same = total(sums) == 0
    for k in range(whole, count):
        same &= part[0, k] == seen[0, place + k]
    if not same:
        for k in range(count):
            seen[0, place + k] = part[0, k]
    return not same


@jit
def _weight(table, k, size, like):
    """`packed` of layer k, packed again if any of its parameters has changed."""
    inputs, biases, rows = table[k, 0], table[k, 1], table[k, 2] * size
    blocks = array_at(table[k, 9], 2, table[k, 2], table)
    lanes = width(like)
    padded = (size + lanes - 1) // lanes * lanes
    first, second = rows * inputs, rows * (inputs + size)
    w_ih, w_hh = array_at(table[k, 3], 1, first, like), array_at(table[k, 4], 1, rows * size, like)
    b_ih, b_hh = array_at(table[k, 5], 1, biases, like), array_at(table[k, 6], 1, biases, like)
    seen = array_at(table[k, 7], 1, second + 2 * biases, like)
    packed = array_at(table[k, 8], inputs + 1 + padded, (max(blocks[0].max(), blocks[1].max()) + 1) * padded, like)
    changed = _changed(w_ih, seen, 0) | _changed(w_hh, seen, first)
    changed |= _changed(b_ih, seen, second) | _changed(b_hh, seen, second + biases)
    if changed:
        packed[:] = 0
        wide, tall = w_ih.reshape((rows, inputs)), w_hh.reshape((rows, size))
        pack_forward(wide, tall, b_ih.reshape(biases), b_hh.reshape(biases), blocks[0], blocks[1], packed)
    return packed


@jit
def _operand(x, h, padded):
    """[x | 1 | h], and h padded."""
    inputs, size = x.shape[1], h.shape[1]
    operand, state = np.zeros((x.shape[0], inputs + 1 + padded), x.dtype), np.zeros((x.shape[0], padded), x.dtype)
    for i in range(x.shape[0]):
        for k in range(inputs):
            operand[i, k] = x[i, k]
        operand[i, inputs] = 1
        for k in range(size):
            operand[i, inputs + 1 + k] = h[i, k]
            state[i, k] = h[i, k]
    return operand, state


@jit
def _cut(state, new):
    """new ← the state without its padding."""
    for i in range(new.shape[0]):
        for k in range(new.shape[1]):
            new[i, k] = state[i, k]


@jit
def _elman(x, h, new, y, table, rectified):
    layers, rows, size = new.shape
    given, before = array_at(x, rows, table[0, 0], new), array_at(h, layers * rows, size, new)
    for k in range(layers):
        packed = _weight(table, k, size, new)
        operand, state = _operand(given, before[k * rows : (k + 1) * rows], packed.shape[1])
        elman.advance(operand, 0, rows, packed, np.empty((rows, packed.shape[1]), new.dtype), state, 0, rectified)
        _cut(state, new[k])
        given = new[k]
    _cut(given, y)


@jit
def _gru(x, h, new, y, table):
    layers, rows, size = new.shape
    given, before = array_at(x, rows, table[0, 0], new), array_at(h, layers * rows, size, new)
    for k in range(layers):
        packed = _weight(table, k, size, new)
        inputs, columns = table[k, 0], packed.shape[1]
        operand, state = _operand(given, before[k * rows : (k + 1) * rows], columns // 4)
        saved = np.empty((rows, columns), new.dtype)
        gru.advance(inputs, operand, 0, rows, operand, inputs + 1, packed, saved, state, 0)
        _cut(state, new[k])
        given = new[k]
    _cut(given, y)


@jit
def _lstm(x, h, c, new, y, table):
    _, layers, rows, size = new.shape
    given = array_at(x, rows, table[0, 0], new)
    before, cells = array_at(h, layers * rows, size, new), array_at(c, layers * rows, size, new)
    for k in range(layers):
        packed = _weight(table, k, size, new)
        padded = packed.shape[1] // 4
        operand, state = _operand(given, before[k * rows : (k + 1) * rows], padded)
        cell = np.zeros((rows, padded), new.dtype)
        for i in range(rows):
            for j in range(size):
                cell[i, j] = cells[k * rows + i, j]
        lstm.advance(operand, 0, rows, None, packed, np.empty((rows, 6 * padded), new.dtype), state, cell, 0)
        _cut(state, new[0, k])
        _cut(cell, new[1, k])
        given = new[0, k]
    _cut(given, y)


@jit
def tanh_step(x, h, new, y, table):
    shape = (table.shape[0], y.size // y.shape[-1], y.shape[-1])
    _elman(address(x), address(h), new.reshape(shape), y.reshape(shape[1:]), table, False)


@jit
def relu_step(x, h, new, y, table):
    shape = (table.shape[0], y.size // y.shape[-1], y.shape[-1])
    _elman(address(x), address(h), new.reshape(shape), y.reshape(shape[1:]), table, True)


@jit
def gru_step(x, h, new, y, table):
    shape = (table.shape[0], y.size // y.shape[-1], y.shape[-1])
    _gru(address(x), address(h), new.reshape(shape), y.reshape(shape[1:]), table)


@jit
def lstm_step(x, h, c, new, y, table):
    shape = (2, table.shape[0], y.size // y.shape[-1], y.shape[-1])
    _lstm(address(x), address(h), address(c), new.reshape(shape), y.reshape(shape[2:]), table)
