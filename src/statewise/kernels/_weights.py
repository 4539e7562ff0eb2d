"""The weights of a recurrent layer on their way into the kernels' matrices, and their gradients on the way back.

torch keeps W_ih (G H, d), W_hh (G H, H) and two biases. The kernels read `weight` (d + 1 + Hp, blocks Hp), [W_ih | b | W_hh]ᵀ with the
gates in blocks of Hp columns: the part of gate g that meets the input in block ``into[g]``, the part that meets the state in block
``onto[g]`` (they differ for the GRU's candidate); `back` (G Hp, Hp), W_hh; and `aside` (blocks Hp, dp), W_ih padded to whole blocks.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import add_columns, width
from statewise.kernels._product import product

_CHUNK = 64  # rows whose gradients stay in the first cache


@jit
def pack(w_ih, w_hh, b_ih, b_hh, into, onto, weight, back, aside):
    """Fill `weight`, `back` and `aside`, which are 0 on entry; the biases have no entries if the layer has none."""
    inputs, size, padded = w_ih.shape[1], w_hh.shape[1], back.shape[1]
    for g in range(into.shape[0]):
        for j in range(size):
            row, left, right = g * size + j, into[g] * padded + j, onto[g] * padded + j
            for k in range(inputs):
                weight[k, left] = w_ih[row, k]
                aside[left, k] = w_ih[row, k]
            if b_ih.shape[0]:
                weight[inputs, left] += b_ih[row]
                weight[inputs, right] += b_hh[row]
            for k in range(size):
                weight[inputs + 1 + k, right] = w_hh[row, k]
                back[g * padded + j, k] = w_hh[row, k]


@jit
def _add_products(operand, d_gates, first, last, low, high, column, columns, both):
    """both[k, n] += Σᵣ operand[r, k] d_gates[r, n] over rows [first, last), k in [low, high) and n in the columns."""
    lanes = width(operand)
    for n in range(column, column + columns, 2 * lanes):
        pair = n + 2 * lanes <= column + columns
        k = low
        while k + 8 <= high:
            if pair:
                add_columns(operand, k, first, last, d_gates, first, n, both, k, n, 8, 2)
            else:
                add_columns(operand, k, first, last, d_gates, first, n, both, k, n, 8, 1)
            k += 8
        while k < high:
            if pair:
                add_columns(operand, k, first, last, d_gates, first, n, both, k, n, 1, 2)
            else:
                add_columns(operand, k, first, last, d_gates, first, n, both, k, n, 1, 1)
            k += 1


@jit
def weight_gradient(operand, d_gates, inputs, into, onto, both, first, last):
    """Columns of the blocks [first, last) of `both` (as `weight`, 0 on entry) ← the gradient of `weight`."""
    padded = d_gates.shape[1] // (max(into.max(), onto.max()) + 1)
    for row in range(0, operand.shape[0], _CHUNK):
        end = min(row + _CHUNK, operand.shape[0])
        for block in range(first, last):
            low = 0 if (into == block).any() else inputs
            high = operand.shape[1] if (onto == block).any() else inputs + 1
            _add_products(operand, d_gates, row, end, low, high, block * padded, padded, both)


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


@jit
def input_gradient(d_gates, aside, meeting, work, d_x, first, last):
    """d_x[r] ← the gradient of the inputs in rows [first, last), from the first `meeting` columns of the gates; `work` (4, dp) is scratch."""
    for row in range(first, last, 4):
        rows = min(4, last - row)
        product(d_gates, row, rows, 0, meeting, aside, 0, 0, aside.shape[1], work, 0, 0)
        for i in range(rows):
            for k in range(d_x.shape[1]):
                d_x[row + i, k] = work[i, k]
