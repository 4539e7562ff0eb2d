"""One step of a recurrent layer, as data arrive.

Arrays are (rows, columns), one row a sequence: `x` (B, d), `h`, `c`, `new` and `new_c` (B, H). `source` holds torch's W_ih and W_hh, each
as one row, and its biases (1, G H), or (1, 0) if there are none; `packed` (d + 1 + Hp, blocks Hp) is `weight` of `_weights`, made from them when they
were `seen` (1, all their entries); a step compares and packs again what has changed, which costs a small part of the step.
`blocks` (2, G) are `into` and `onto`.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels import elman, gru, lstm
from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, positive, total, width, zeros
from statewise.kernels._weights import pack_forward


@jit
def _changed(part, seen, place):
    """Whether a parameter differs from the entries of `seen` from `place` on, which are overwritten then. NaN differs from itself."""
    count, lanes = part.shape[1], width(part)
    whole = count - count % lanes
    sums = zeros(part)
    for k in range(0, whole, lanes):
        d = load(part, 0, k) - load(seen, 0, place + k)
        sums = sums + (positive(d) + positive(d * -1.0))
    same = total(sums) == 0
    for k in range(whole, count):
        same &= part[0, k] == seen[0, place + k]
    if not same:
        for k in range(count):
            seen[0, place + k] = part[0, k]
    return not same


@jit
def refresh(w_ih, w_hh, b_ih, b_hh, seen, packed, blocks, inputs, size):
    """Pack the weights again if any of them has changed."""
    first, second = w_ih.shape[1], w_ih.shape[1] + w_hh.shape[1]
    changed = _changed(w_ih, seen, 0) | _changed(w_hh, seen, first)
    changed |= _changed(b_ih, seen, second) | _changed(b_hh, seen, second + b_ih.shape[1])
    if changed:
        rows = blocks.shape[1] * size
        packed[:] = 0
        wide, tall = w_ih.reshape((rows, inputs)), w_hh.reshape((rows, size))
        pack_forward(wide, tall, b_ih.reshape(b_ih.shape[1]), b_hh.reshape(b_hh.shape[1]), blocks[0], blocks[1], packed)


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
def elman_step(x, h, new, w_ih, w_hh, b_ih, b_hh, seen, packed, blocks, rectified):
    refresh(w_ih, w_hh, b_ih, b_hh, seen, packed, blocks, x.shape[1], h.shape[1])
    operand, state = _operand(x, h, packed.shape[1])
    elman.advance(operand, 0, x.shape[0], packed, np.empty((x.shape[0], packed.shape[1]), x.dtype), state, 0, rectified)
    _cut(state, new)


@jit
def gru_step(x, h, new, w_ih, w_hh, b_ih, b_hh, seen, packed, blocks):
    refresh(w_ih, w_hh, b_ih, b_hh, seen, packed, blocks, x.shape[1], h.shape[1])
    operand, state = _operand(x, h, packed.shape[1] // 4)
    saved = np.empty((x.shape[0], packed.shape[1]), x.dtype)
    gru.advance(x.shape[1], operand, 0, x.shape[0], operand, x.shape[1] + 1, packed, saved, state, 0)
    _cut(state, new)


@jit
def lstm_step(x, h, c, new, new_c, w_ih, w_hh, b_ih, b_hh, seen, packed, blocks):
    refresh(w_ih, w_hh, b_ih, b_hh, seen, packed, blocks, x.shape[1], h.shape[1])
    padded = packed.shape[1] // 4
    operand, state = _operand(x, h, padded)
    cell = np.zeros((x.shape[0], padded), x.dtype)
    for i in range(x.shape[0]):
        for k in range(c.shape[1]):
            cell[i, k] = c[i, k]
    lstm.advance(operand, 0, x.shape[0], None, packed, np.empty((x.shape[0], 6 * padded), x.dtype), state, cell, 0)
    _cut(state, new)
    _cut(cell, new_c)
