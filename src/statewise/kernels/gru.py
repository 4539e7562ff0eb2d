"""The gated recurrent unit of torch.nn.GRU, forward and backward.

::

    r = σ(W_ir x + b_ir + W_hr h + b_hr)
    z = σ(W_iz x + b_iz + W_hz h + b_hz)
    q = W_hn h + b_hn
    n = tanh(W_in x + b_in + r q)
    h[t] = (1 − z) n + z h[t−1]

`_steps` has the layout. The columns of the gates are n, r, z, q, each Hp wide: the first three meet the input, the last three the
state. `weight` (d + 1 + Hp, 4 Hp) is [W_ih | b | W_hh]ᵀ and `back` (3 Hp, Hp) is W_hh in the order r, z, n; padding is 0.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width
from statewise.kernels._product import product
from statewise.kernels._steps import active, begin, finish, hand_back, receive, step_at
from statewise.kernels._vector_math import sigmoid, tanh


@jit
def forward(x, operand, kept, place, decay, mask, weight, saved, state, output, sizes, offsets, first, last, reverse):
    """Fill `operand`, `kept`, `saved` (R, 4 Hp) with n, r, z, q and `output` (R, H).

    `state` (B, Hp) is the first state on entry and the last on return.
    """
    steps, padded, lanes, inputs = sizes.shape[0], state.shape[1], width(state), x.shape[1]
    wide = operand.shape[1]
    for k in range(steps):
        t = step_at(k, steps, reverse)
        rows, row = active(sizes, t, first, last), offsets[t] + first
        begin(x, state, operand, kept, place, decay, mask, row, rows, first)
        product(operand, row, rows, 0, inputs + 1, weight, 0, 0, padded, saved, row, 0)
        product(operand, row, rows, 0, wide, weight, 0, padded, 2 * padded, saved, row, padded)
        product(operand, row, rows, inputs, wide, weight, inputs, 3 * padded, padded, saved, row, 3 * padded)
        for i in range(rows):
            for j in range(0, padded, lanes):
                r = sigmoid(load(saved, row + i, padded + j))
                z = sigmoid(load(saved, row + i, 2 * padded + j))
                n = tanh(load(saved, row + i, j) + r * load(saved, row + i, 3 * padded + j))
                store(saved, row + i, j, n)
                store(saved, row + i, padded + j, r)
                store(saved, row + i, 2 * padded + j, z)
                store(state, first + i, j, n + z * (load(kept, row + i, place + j) - n))
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
):
    """Fill `d_gates` (R, 4 Hp), the gradients of the arguments of n, r, z and of q, and `d_log_decay`.

    `gradient` (B, Hp) is that of the last state on entry and of the first on return; `work` (B, Hp) is scratch.
    """
    steps, padded, lanes = sizes.shape[0], gradient.shape[1], width(gradient)
    for k in range(steps):
        t = step_at(k, steps, not reverse)
        rows, row = active(sizes, t, first, last), offsets[t] + first
        receive(upstream, gradient, row, rows, first)
        for i in range(rows):
            for j in range(0, padded, lanes):
                g = load(gradient, first + i, j)
                n, r = load(saved, row + i, j), load(saved, row + i, padded + j)
                z, q = load(saved, row + i, 2 * padded + j), load(saved, row + i, 3 * padded + j)
                d_n = g * (1.0 - z) * (1.0 - n * n)
                store(d_gates, row + i, j, d_n)
                store(d_gates, row + i, padded + j, d_n * q * r * (1.0 - r))
                store(d_gates, row + i, 2 * padded + j, g * (load(kept, row + i, place + j) - n) * z * (1.0 - z))
                store(d_gates, row + i, 3 * padded + j, d_n * r)
                store(gradient, first + i, j, g * z)
        product(d_gates, row, rows, padded, 4 * padded, back, 0, 0, padded, work, first, 0)
        hand_back(gradient, work, kept, place, decay, mask, d_log_decay, row, rows, first)
