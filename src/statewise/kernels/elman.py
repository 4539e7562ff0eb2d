"""The Elman network, forward and backward: h[t] = φ(W_ih x[t] + b_ih + W_hh h[t−1] + b_hh), φ = tanh or max(·, 0).

`_steps` has the layout. `weight` (d + 1 + Hp, Hp) is [W_ih | b | W_hh]ᵀ and `back` (Hp, Hp) is W_hh; rows and columns of padding are 0.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, positive, store, where_positive, width, zeros
from statewise.kernels._product import product
from statewise.kernels._steps import active, begin, finish, hand_back, receive, step_at
from statewise.kernels._vector_math import tanh


@jit
def forward(
    x, operand, kept, place, decay, mask, weight, saved, state, output, sizes, offsets, first, last, reverse, rectified
):
    """Fill `operand`, `kept`, `saved` (R, Hp) with h and `output` (R, H); `state` (B, Hp) is the first state on entry and the last on return."""
    steps, padded, lanes = sizes.shape[0], state.shape[1], width(state)
    for k in range(steps):
        t = step_at(k, steps, reverse)
        rows, row = active(sizes, t, first, last), offsets[t] + first
        begin(x, state, operand, kept, place, decay, mask, row, rows, first)
        product(operand, row, rows, 0, operand.shape[1], weight, 0, 0, padded, saved, row, 0)
        for i in range(rows):
            for j in range(0, padded, lanes):
                a = load(saved, row + i, j)
                h = positive(a) if rectified else tanh(a)
                store(saved, row + i, j, h)
                store(state, first + i, j, h)
        finish(state, output, row, rows, first)


@jit
def backward(
    upstream,
    kept,
    place,
    decay,
    mask,
    back,
    saved,
    gradient,
    work,
    d_gates,
    d_log_decay,
    sizes,
    offsets,
    first,
    last,
    reverse,
    rectified,
):
    """Fill `d_gates` (R, Hp), the gradient of the argument of φ, and `d_log_decay`.

    `gradient` (B, Hp) is that of the last state on entry and of the first on return; `work` (B, Hp) is scratch.
    """
    steps, padded, lanes = sizes.shape[0], gradient.shape[1], width(gradient)
    for k in range(steps):
        t = step_at(k, steps, not reverse)
        rows, row = active(sizes, t, first, last), offsets[t] + first
        receive(upstream, gradient, row, rows, first)
        for i in range(rows):
            for j in range(0, padded, lanes):
                h, g = load(saved, row + i, j), load(gradient, first + i, j)
                d = where_positive(h, g) if rectified else g * (1.0 - h * h)
                store(d_gates, row + i, j, d)
                store(gradient, first + i, j, zeros(gradient))
        product(d_gates, row, rows, 0, padded, back, 0, 0, padded, work, first, 0)
        hand_back(gradient, work, kept, place, decay, mask, d_log_decay, row, rows, first)
