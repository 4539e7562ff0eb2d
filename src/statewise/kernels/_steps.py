"""What every recurrent kernel does around its own equations: walk the steps, carry the state, gather the upstream gradient.

Layout, for R rows in all (the real steps of all sequences), B sequences, d inputs and H units, padded to Hp, a multiple of the
width of a block: the rows of step t are ``offsets[t] … offsets[t] + sizes[t] − 1``, sequences in the order of falling lengths, as in
torch's PackedSequence. A row of `operand` (R, d + 1 + Hp) is [x | 1 | the state that enters the product].
A shard is the sequences [first, last). `decay` (R, Hp) multiplies the carried state before the step, `mask` (B, Hp) what enters the
product in addition; both may be None. `norm` (3, Hp), or None, normalises it there: rows of gain, shift, and 1 where a column
is a unit; `normed` (R, Hp + width) keeps (h − mean) / sd and 1 / sd, sd² being the variance over the units plus 1e-5. `kept` holds the carried state
in its columns from `place` on: it is `operand` itself while there is neither mask nor norm.
"""

from __future__ import annotations

import math

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, total, width, zeros

_EPSILON = 1e-5  # of torch.nn.LayerNorm


@jit
def step_at(k, steps, reverse):
    """The k-th step to be computed."""
    return steps - 1 - k if reverse else k


@jit
def active(sizes, t, first, last):
    """Sequences of the shard that are alive at step t."""
    return max(0, min(last, sizes[t]) - first)


@jit
def _normalise(kept, place, norm, normed, row, size):
    """normed[row] ← (h − mean) / sd of the carried state, and 1 / sd."""
    padded, lanes = norm.shape[1], width(norm)
    sums = zeros(norm)
    for j in range(0, padded, lanes):
        sums = sums + load(kept, row, place + j)
    mean = total(sums) / size
    squares = zeros(norm)
    for j in range(0, padded, lanes):
        d = (load(kept, row, place + j) - mean) * load(norm, 2, j)
        squares = squares + d * d
        store(normed, row, j, d)
    inverse = 1.0 / math.sqrt(total(squares) / size + _EPSILON)
    for j in range(0, padded, lanes):
        store(normed, row, j, load(normed, row, j) * inverse)
    normed[row, padded] = inverse


@jit
def begin(x, size, state, operand, kept, place, decay, mask, norm, normed, row, rows, first):
    """Write the rows of one step's operand: the inputs, the 1 of the bias, and the state of the step before; `size` is H."""
    inputs, lanes = x.shape[1], width(state)
    for i in range(rows):
        r, b = row + i, first + i
        for j in range(inputs):
            operand[r, j] = x[r, j]
        operand[r, inputs] = 1
        for j in range(0, state.shape[1], lanes):
            h = load(state, b, j)
            if decay is not None:
                h = h * load(decay, r, j)
            store(kept, r, place + j, h)
        if norm is not None:
            _normalise(kept, place, norm, normed, r, size)
        if norm is not None or mask is not None:
            for j in range(0, state.shape[1], lanes):
                if norm is not None:
                    h = load(normed, r, j) * load(norm, 0, j) + load(norm, 1, j)
                else:
                    h = load(kept, r, place + j)
                if mask is not None:
                    h = h * load(mask, b, j)
                store(operand, r, inputs + 1 + j, h)


@jit
def finish(state, output, row, rows, first):
    """Write the rows of one step's output: the states, without the padding."""
    units = output.shape[1]
    for i in range(rows):
        for j in range(units):
            output[row + i, j] = state[first + i, j]


@jit
def receive(upstream, gradient, row, rows, first):
    """Add the gradient of one step's output to that of the state."""
    units = upstream.shape[1]
    for i in range(rows):
        for j in range(units):
            gradient[first + i, j] += upstream[row + i, j]


@jit
def _through_norm(product, b, norm, normed, d_seen, row, size):
    """product[b] ← the gradient of the carried state from that of the normalised one; the latter goes to d_seen[row]."""
    padded, lanes = norm.shape[1], width(norm)
    plain, along = zeros(norm), zeros(norm)
    for j in range(0, padded, lanes):
        g = load(product, b, j)
        store(d_seen, row, j, g)
        g = g * load(norm, 0, j)
        plain = plain + g
        along = along + g * load(normed, row, j)
    mean, slope, inverse = total(plain) / size, total(along) / size, normed[row, padded]
    for j in range(0, padded, lanes):
        g = load(product, b, j) * load(norm, 0, j) - mean - load(normed, row, j) * slope
        store(product, b, j, g * load(norm, 2, j) * inverse)


@jit
def hand_back(gradient, size, product, kept, place, decay, mask, norm, normed, d_seen, d_log_decay, row, rows, first):
    """gradient ← ∂/∂ the state of the step before, from what the cell left in `gradient` and in the rows of `product`."""
    lanes = width(gradient)
    for i in range(rows):
        r, b = row + i, first + i
        if mask is not None:
            for j in range(0, gradient.shape[1], lanes):
                store(product, b, j, load(product, b, j) * load(mask, b, j))
        if norm is not None:
            _through_norm(product, b, norm, normed, d_seen, r, size)
        for j in range(0, gradient.shape[1], lanes):
            g = load(product, b, j) + load(gradient, b, j)
            if decay is not None:
                store(d_log_decay, r, j, g * load(kept, r, place + j))
                g = g * load(decay, r, j)
            store(gradient, b, j, g)
