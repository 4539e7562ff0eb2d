"""One step of the gated recurrent unit of torch.nn.GRU, forward and backward.

::

    r = σ(W_ir x + b_ir + W_hr h + b_hr)
    z = σ(W_iz x + b_iz + W_hz h + b_hz)
    q = W_hn h + b_hn
    n = tanh(W_in x + b_in + r q)
    h[t] = (1 − z) n + z h[t−1]

`recurrence` has the layout. The columns of the gates are n, r, z, q, each Hp wide: the first three meet the input, the last three the
state. `weight` (d + 1 + Hp, 4 Hp) is [W_ih | b | W_hh]ᵀ and `back` (3 Hp, Hp) is W_hh in the order r, z, n; padding is 0.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width
from statewise.kernels._vector_math import sigmoid, tanh


@jit(counted=False)
def advance(saved, own, rows, kept, place, state, first):
    """`saved` (R, 4 Hp): the arguments of n (without r q), r, z, and q → n, r, z, q; h to `state`."""
    padded = state.shape[1]
    for i in range(rows):
        for j in range(0, padded, width(state)):
            r = sigmoid(load(saved, own + i, padded + j))
            z = sigmoid(load(saved, own + i, 2 * padded + j))
            n = tanh(load(saved, own + i, j) + r * load(saved, own + i, 3 * padded + j))
            store(saved, own + i, j, n)
            store(saved, own + i, padded + j, r)
            store(saved, own + i, 2 * padded + j, z)
            store(state, first + i, j, n + z * (load(kept, own + i, place + j) - n))


@jit(counted=False)
def retreat(saved, own, rows, kept, place, gradient, first, d_gates, at):
    """`d_gates` (·, 4 Hp) from row `at` on: the gradients of the arguments of n, r, z and of q; `gradient` ← what reaches h[t−1] by z."""
    padded = gradient.shape[1]
    for i in range(rows):
        for j in range(0, padded, width(gradient)):
            g = load(gradient, first + i, j)
            n, r = load(saved, own + i, j), load(saved, own + i, padded + j)
            z, q = load(saved, own + i, 2 * padded + j), load(saved, own + i, 3 * padded + j)
            d_n = g * (1.0 - z) * (1.0 - n * n)
            store(d_gates, at + i, j, d_n)
            store(d_gates, at + i, padded + j, d_n * q * r * (1.0 - r))
            store(d_gates, at + i, 2 * padded + j, g * (load(kept, own + i, place + j) - n) * z * (1.0 - z))
            store(d_gates, at + i, 3 * padded + j, d_n * r)
            store(gradient, first + i, j, g * z)
