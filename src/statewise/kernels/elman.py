"""One step of the Elman network, forward and backward: h[t] = φ(a), a = W_ih x[t] + b_ih + W_hh h[t−1] + b_hh, φ = tanh or max(·, 0).

`recurrence` has the layout. `weight` (d + 1 + Hp, Hp) is [W_ih | b | W_hh]ᵀ and `back` (Hp, Hp) is W_hh; rows and columns of padding are 0.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, positive, store, where_positive, width, zeros
from statewise.kernels._vector_math import tanh


@jit(counted=False)
def advance(saved, own, rows, state, first, rectified):
    """`saved` (R, Hp): a → h; also to `state`."""
    for i in range(rows):
        for j in range(0, state.shape[1], width(state)):
            a = load(saved, own + i, j)
            h = positive(a) if rectified else tanh(a)
            store(saved, own + i, j, h)
            store(state, first + i, j, h)


@jit(counted=False)
def retreat(saved, own, rows, gradient, first, rectified, d_gates, at):
    """`d_gates` (·, Hp) from row `at` on: the gradient of a. What reaches h[t−1] past the product: nothing."""
    for i in range(rows):
        for j in range(0, gradient.shape[1], width(gradient)):
            h, g = load(saved, own + i, j), load(gradient, first + i, j)
            d = where_positive(h, g) if rectified else g * (1.0 - h * h)
            store(d_gates, at + i, j, d)
            store(gradient, first + i, j, zeros(gradient))
