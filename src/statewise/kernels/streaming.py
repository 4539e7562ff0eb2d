"""One step of a recurrent layer, as data arrive: weights where torch keeps them, so that a step always sees the current ones.

Arrays are (rows, columns), one row a sequence: `x` (B, d), `h` and `c` (B, H). Without biases these are arrays of no columns. A step
costs one pass over the weights.
"""

from __future__ import annotations

import math

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, total, width, zeros


@jit
def _row(w, j, x, i):
    """Σₖ w[j, k] x[i, k]."""
    columns, lanes = x.shape[1], width(x)
    whole = columns - columns % lanes
    result = x.dtype.type(0)
    if whole:
        sums = zeros(x)
        for k in range(0, whole, lanes):
            sums = sums + load(w, j, k) * load(x, i, k)
        result = total(sums)
    for k in range(whole, columns):
        result += w[j, k] * x[i, k]
    return result


@jit
def _affine(w, b, j, x, i):
    """Row j of w x[i] + b; `b` is (1, rows) or (1, 0)."""
    result = _row(w, j, x, i)
    return result + b[0, j] if b.shape[1] else result


@jit
def _sigmoid(a):
    e = math.exp(-abs(a))
    return (1.0 if a >= 0 else e) / (1.0 + e)


@jit
def elman(x, h, w_ih, w_hh, b_ih, b_hh, new, rectified):
    """new ← φ(W_ih x + b_ih + W_hh h + b_hh)."""
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            a = _affine(w_ih, b_ih, j, x, i) + _affine(w_hh, b_hh, j, h, i)
            if rectified:
                new[i, j] = a if not a < 0 else 0.0
            else:
                new[i, j] = math.tanh(a)


@jit
def gru(x, h, w_ih, w_hh, b_ih, b_hh, new):
    """new ← (1 − z) n + z h, with the gates r, z, n of `kernels.gru`."""
    size = h.shape[1]
    for i in range(h.shape[0]):
        for j in range(size):
            r = _sigmoid(_affine(w_ih, b_ih, j, x, i) + _affine(w_hh, b_hh, j, h, i))
            z = _sigmoid(_affine(w_ih, b_ih, size + j, x, i) + _affine(w_hh, b_hh, size + j, h, i))
            q = _affine(w_hh, b_hh, 2 * size + j, h, i)
            n = math.tanh(_affine(w_ih, b_ih, 2 * size + j, x, i) + r * q)
            new[i, j] = n + z * (h[i, j] - n)


@jit
def lstm(x, h, c, w_ih, w_hh, b_ih, b_hh, new, new_c):
    """new_c ← f c + i g and new ← o tanh new_c, with the gates i, f, g, o of `kernels.lstm`."""
    size = h.shape[1]
    for m in range(h.shape[0]):
        for j in range(size):
            i = _sigmoid(_affine(w_ih, b_ih, j, x, m) + _affine(w_hh, b_hh, j, h, m))
            f = _sigmoid(_affine(w_ih, b_ih, size + j, x, m) + _affine(w_hh, b_hh, size + j, h, m))
            g = math.tanh(_affine(w_ih, b_ih, 2 * size + j, x, m) + _affine(w_hh, b_hh, 2 * size + j, h, m))
            o = _sigmoid(_affine(w_ih, b_ih, 3 * size + j, x, m) + _affine(w_hh, b_hh, 3 * size + j, h, m))
            new_c[m, j] = f * c[m, j] + i * g
            new[m, j] = o * math.tanh(new_c[m, j])
