"""One step of the LSTM of torch.nn.LSTM, forward and backward.

::

    i, f, o = σ(W x + b + U h)      g = tanh(W_ig x + b_ig + W_hg h + b_hg)
    c[t] = f c[t−1] + i g           h[t] = o tanh c[t]

`recurrence` has the layout; a decay multiplies h and c alike, and a norm of the cell stands between c and its tanh. The columns of the gates are
i, f, g, o, as in torch, each Hp wide. `weight` (d + 1 + Hp, 4 Hp) is [W_ih | b | W_hh]ᵀ and `back` (4 Hp, Hp) is W_hh; padding is 0.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width, zeros
from statewise.kernels._norm import normalise, through
from statewise.kernels._vector_math import sigmoid, tanh


@jit(counted=False)
def advance(saved, own, row, rows, decay, norm, state, cell, first):
    """`saved` (R, 6 Hp): the arguments of i, f, g, o → i, f, g, o, c[t−1], tanh c[t]; h to `state`, c to `cell`."""
    padded, lanes = state.shape[1], width(state)
    for m in range(rows):
        r, b = own + m, first + m
        for j in range(0, padded, lanes):
            i, f = sigmoid(load(saved, r, j)), sigmoid(load(saved, r, padded + j))
            g, o = tanh(load(saved, r, 2 * padded + j)), sigmoid(load(saved, r, 3 * padded + j))
            before = load(cell, b, j)
            if decay is not None:
                before = before * load(decay, row + m, j)
            c = f * before + i * g
            store(saved, r, j, i)
            store(saved, r, padded + j, f)
            store(saved, r, 2 * padded + j, g)
            store(saved, r, 3 * padded + j, o)
            store(saved, r, 4 * padded + j, before)
            store(cell, b, j, c)
            if norm is None:
                shown = tanh(c)
                store(saved, r, 5 * padded + j, shown)
                store(state, b, j, o * shown)
        if norm is not None:
            normalise(cell, b, 0, norm.cell, norm.cell_normed, r, saved, r, 5 * padded, norm.units)
            for j in range(0, padded, lanes):
                shown = tanh(load(saved, r, 5 * padded + j))
                store(saved, r, 5 * padded + j, shown)
                store(state, b, j, load(saved, r, 3 * padded + j) * shown)


@jit(counted=False)
def retreat(saved, own, rows, norm, d_cell_norm, gradient, d_cell, work, first, d_gates, at):
    """`d_gates` (·, 4 Hp) from row `at` on: the gradients of the arguments of i, f, g, o; `d_cell` ← that of f's operand, `gradient` ← 0.

    `work` (B, Hp) is scratch, `d_cell_norm` (2, Hp) collects the gradients of the cell's gain and shift.
    """
    padded, lanes = gradient.shape[1], width(gradient)
    for m in range(rows):
        r, b = own + m, first + m
        for j in range(0, padded, lanes):
            shown = load(saved, r, 5 * padded + j)
            store(work, b, j, load(gradient, b, j) * load(saved, r, 3 * padded + j) * (1.0 - shown * shown))
        if norm is not None:
            through(work, b, 0, norm.cell, norm.cell_normed, r, d_cell_norm, norm.units)
        for j in range(0, padded, lanes):
            i, f = load(saved, r, j), load(saved, r, padded + j)
            g, o = load(saved, r, 2 * padded + j), load(saved, r, 3 * padded + j)
            before, shown = load(saved, r, 4 * padded + j), load(saved, r, 5 * padded + j)
            d_c = load(d_cell, b, j) + load(work, b, j)
            store(d_gates, at + m, j, d_c * g * i * (1.0 - i))
            store(d_gates, at + m, padded + j, d_c * before * f * (1.0 - f))
            store(d_gates, at + m, 2 * padded + j, d_c * i * (1.0 - g * g))
            store(d_gates, at + m, 3 * padded + j, load(gradient, b, j) * shown * o * (1.0 - o))
            store(d_cell, b, j, d_c * f)
            store(gradient, b, j, zeros(gradient))


@jit(counted=False)
def decay_back(saved, own, row, rows, decay, d_cell, d_log_decay, first):
    """Through the decay of the cell, if any, after that of h: `d_cell` ← ∂/∂ c[t−1], and its share of `d_log_decay`."""
    if decay is not None:
        padded = d_cell.shape[1]
        for m in range(rows):
            for j in range(0, padded, width(d_cell)):
                d_c = load(d_cell, first + m, j)
                grown = load(d_log_decay, row + m, j) + d_c * load(saved, own + m, 4 * padded + j)
                store(d_log_decay, row + m, j, grown)
                store(d_cell, first + m, j, d_c * load(decay, row + m, j))
