"""The LSTM of torch.nn.LSTM, forward and backward.

::

    i, f, o = σ(W x + b + U h)      g = tanh(W_ig x + b_ig + W_hg h + b_hg)
    c[t] = f c[t−1] + i g           h[t] = o tanh c[t]

`_steps` has the layout; a decay multiplies h and c alike. The columns of the gates are i, f, g, o, as in torch, each Hp wide.
`weight` (d + 1 + Hp, 4 Hp) is [W_ih | b | W_hh]ᵀ and `back` (4 Hp, Hp) is W_hh; padding is 0.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width, zeros
from statewise.kernels._product import product
from statewise.kernels._steps import active, begin, finish, hand_back, receive, step_at
from statewise.kernels._vector_math import sigmoid, tanh


@jit
def forward(
    x, operand, kept, place, decay, mask, weight, saved, state, cell, output, sizes, offsets, first, last, reverse
):
    """Fill `operand`, `kept`, `saved` (R, 6 Hp) with i, f, g, o, c[t−1], tanh c[t], and `output` (R, H).

    `state` and `cell` (B, Hp) are the first h and c on entry and the last on return.
    """
    steps, padded, lanes = sizes.shape[0], state.shape[1], width(state)
    for k in range(steps):
        t = step_at(k, steps, reverse)
        rows, row = active(sizes, t, first, last), offsets[t] + first
        begin(x, state, operand, kept, place, decay, mask, row, rows, first)
        product(operand, row, rows, 0, operand.shape[1], weight, 0, 0, 4 * padded, saved, row, 0)
        for m in range(rows):
            for j in range(0, padded, lanes):
                i, f = sigmoid(load(saved, row + m, j)), sigmoid(load(saved, row + m, padded + j))
                g, o = tanh(load(saved, row + m, 2 * padded + j)), sigmoid(load(saved, row + m, 3 * padded + j))
                before = load(cell, first + m, j)
                if decay is not None:
                    before = before * load(decay, row + m, j)
                c = f * before + i * g
                shown = tanh(c)
                store(saved, row + m, j, i)
                store(saved, row + m, padded + j, f)
                store(saved, row + m, 2 * padded + j, g)
                store(saved, row + m, 3 * padded + j, o)
                store(saved, row + m, 4 * padded + j, before)
                store(saved, row + m, 5 * padded + j, shown)
                store(cell, first + m, j, c)
                store(state, first + m, j, o * shown)
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
    d_cell,
    work,
    d_gates,
    d_log_decay,
    sizes,
    offsets,
    first,
    last,
    reverse,
):
    """Fill `d_gates` (R, 4 Hp), the gradients of the arguments of i, f, g, o, and `d_log_decay`.

    `gradient` and `d_cell` (B, Hp) are those of the last h and c on entry and of the first on return; `work` (B, Hp) is scratch.
    """
    steps, padded, lanes = sizes.shape[0], gradient.shape[1], width(gradient)
    for k in range(steps):
        t = step_at(k, steps, not reverse)
        rows, row = active(sizes, t, first, last), offsets[t] + first
        receive(upstream, gradient, row, rows, first)
        for m in range(rows):
            for j in range(0, padded, lanes):
                i, f = load(saved, row + m, j), load(saved, row + m, padded + j)
                g, o = load(saved, row + m, 2 * padded + j), load(saved, row + m, 3 * padded + j)
                before, shown = load(saved, row + m, 4 * padded + j), load(saved, row + m, 5 * padded + j)
                d_h = load(gradient, first + m, j)
                d_c = load(d_cell, first + m, j) + d_h * o * (1.0 - shown * shown)
                store(d_gates, row + m, j, d_c * g * i * (1.0 - i))
                store(d_gates, row + m, padded + j, d_c * before * f * (1.0 - f))
                store(d_gates, row + m, 2 * padded + j, d_c * i * (1.0 - g * g))
                store(d_gates, row + m, 3 * padded + j, d_h * shown * o * (1.0 - o))
                store(d_cell, first + m, j, d_c * f)
                store(gradient, first + m, j, zeros(gradient))
        product(d_gates, row, rows, 0, 4 * padded, back, 0, 0, padded, work, first, 0)
        hand_back(gradient, work, kept, place, decay, mask, d_log_decay, row, rows, first)
        if decay is not None:
            for m in range(rows):
                for j in range(0, padded, lanes):
                    d_c = load(d_cell, first + m, j)
                    grown = load(d_log_decay, row + m, j) + d_c * load(saved, row + m, 4 * padded + j)
                    store(d_log_decay, row + m, j, grown)
                    store(d_cell, first + m, j, d_c * load(decay, row + m, j))
