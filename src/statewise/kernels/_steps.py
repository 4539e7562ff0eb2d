"""What every recurrent kernel does around its own equations: walk the steps, carry the state, gather the upstream gradient.

Layout, for R rows in all (the real steps of all sequences), B sequences, d inputs and H units, padded to Hp, a multiple of the
width of a block: the rows of step t are ``offsets[t] … offsets[t] + sizes[t] − 1``, sequences in the order of falling lengths, as in
torch's PackedSequence. A row of `operand` (R, d + 1 + Hp) is [x | 1 | the state that enters the product].
A shard is the sequences [first, last). `decay` (R, Hp) multiplies the carried state before the step, `mask` (B, Hp) what enters the
product in addition; both may be None. `kept` holds the carried state in its columns from `place` on: it is `operand` itself while
there is no mask.
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width


@jit
def step_at(k, steps, reverse):
    """The k-th step to be computed."""
    return steps - 1 - k if reverse else k


@jit
def active(sizes, t, first, last):
    """Sequences of the shard that are alive at step t."""
    return max(0, min(last, sizes[t]) - first)


@jit
def begin(x, state, operand, kept, place, decay, mask, row, rows, first):
    """Write the rows of one step's operand: the inputs, the 1 of the bias, and the state of the step before."""
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
            if mask is not None:
                store(kept, r, place + j, h)
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
def hand_back(gradient, product, kept, place, decay, mask, d_log_decay, row, rows, first):
    """gradient ← ∂/∂ the state of the step before, from what the cell left in `gradient` and in the rows of `product`."""
    lanes = width(gradient)
    for i in range(rows):
        r, b = row + i, first + i
        for j in range(0, gradient.shape[1], lanes):
            g = load(product, b, j)
            if mask is not None:
                g = g * load(mask, b, j)
            g = g + load(gradient, b, j)
            if decay is not None:
                store(d_log_decay, r, j, g * load(kept, r, place + j))
                g = g * load(decay, r, j)
            store(gradient, b, j, g)
