"""The weights of a recurrent layer on their way into the kernels' matrices, and their gradients on the way back.

torch keeps W_ih (G H, d), W_hh (G H, H) and two biases. The kernels read `weight` (d + 1 + Hp, blocks Hp), [W_ih | b | W_hh]ᵀ with the
gates in blocks of Hp columns: the part of gate g that meets the input in block ``into[g]``, the part that meets the state in block
``onto[g]`` (they differ for the GRU's candidate); `back` (G Hp, Hp), W_hh; and `aside` (blocks Hp, dp), W_ih padded to whole blocks.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import add_columns, width

_CHUNK = 64  # rows whose gradients stay in the first cache


@jit
def pack_forward(w_ih, w_hh, b_ih, b_hh, into, onto, weight):
    """Fill `weight`, which is 0 on entry; the biases have no entries if the layer has none."""
    inputs, size = w_ih.shape[1], w_hh.shape[1]
    padded = weight.shape[1] // (max(into.max(), onto.max()) + 1)
    for g in range(into.shape[0]):
        for j in range(size):
            row, left, right = g * size + j, into[g] * padded + j, onto[g] * padded + j
            for k in range(inputs):
                weight[k, left] = w_ih[row, k]
            if b_ih.shape[0]:
                weight[inputs, left] += b_ih[row]
                weight[inputs, right] += b_hh[row]
            for k in range(size):
                weight[inputs + 1 + k, right] = w_hh[row, k]


@jit
def pack_backward(w_ih, w_hh, into, back, aside):
    """Fill `back` and `aside`, which are 0 on entry."""
    inputs, size, padded = w_ih.shape[1], w_hh.shape[1], back.shape[1]
    for g in range(into.shape[0]):
        for j in range(size):
            row = g * size + j
            for k in range(inputs):
                aside[into[g] * padded + j, k] = w_ih[row, k]
            for k in range(size):
                back[g * padded + j, k] = w_hh[row, k]


@jit(counted=False)
def _add_products(operand, first, last, d_gates, begin, low, high, column, columns, both):
    """both[k, n] += Σᵣ operand[first + r, k] d_gates[begin + r, n], r < last − first, k in [low, high) and n in the columns."""
    lanes = width(operand)
    for n in range(column, column + columns, 2 * lanes):
        pair = n + 2 * lanes <= column + columns
        k = low
        while k + 8 <= high:
            if pair:
                add_columns(operand, k, first, last, d_gates, begin, n, both, k, n, 8, 2)
            else:
                add_columns(operand, k, first, last, d_gates, begin, n, both, k, n, 8, 1)
            k += 8
        while k < high:
            if pair:
                add_columns(operand, k, first, last, d_gates, begin, n, both, k, n, 1, 2)
            else:
                add_columns(operand, k, first, last, d_gates, begin, n, both, k, n, 1, 1)
            k += 1


@jit(counted=False)
def _is_among(block, places):
    found = False
    for g in range(places.shape[0]):
        found |= places[g] == block
    return found


@jit(counted=False)
def weight_gradient(operand, own, count, d_gates, at, inputs, into, onto, both):
    """Add to `both` (as `weight`; or None) its gradient from `count` rows, from `own` on in `operand` and from `at` on in `d_gates`."""
    if both is not None:
        padded = both.shape[0] - inputs - 1
        for start in range(0, count, _CHUNK):
            first, last, begin = own + start, own + min(start + _CHUNK, count), at + start
            for block in range(both.shape[1] // padded):
                low = 0 if _is_among(block, into) else inputs
                high = operand.shape[1] if _is_among(block, onto) else inputs + 1
                _add_products(operand, first, last, d_gates, begin, low, high, block * padded, padded, both)


@jit
def unpack(both, into, onto, d_w_ih, d_w_hh, d_b_ih, d_b_hh):
    """The gradient of `weight` as the gradients of torch's parameters."""
    inputs, size = d_w_ih.shape[1], d_w_hh.shape[1]
    padded = both.shape[0] - inputs - 1
    for g in range(into.shape[0]):
        for j in range(size):
            row, left, right = g * size + j, into[g] * padded + j, onto[g] * padded + j
            for k in range(inputs):
                d_w_ih[row, k] = both[k, left]
            for k in range(size):
                d_w_hh[row, k] = both[inputs + 1 + k, right]
            d_b_ih[row] = both[inputs, left]
            d_b_hh[row] = both[inputs, right]
