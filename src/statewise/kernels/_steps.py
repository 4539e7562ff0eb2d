"""What every recurrent kernel does around its own equations: walk the steps, carry the state, gather the upstream gradient.

Rows. For R real steps of all sequences, B sequences, d inputs and H units, padded to Hp, a multiple of the width of a block, the rows of step t of
what the caller sees are ``offsets[t] … offsets[t] + sizes[t] − 1``, sequences in the order of falling lengths, as in torch's PackedSequence.
A shard is the sequences [first, last). What only the two passes see (`operand`, `kept`, `saved`, `normed`) has a shard's rows one after another
in the order in which they are computed, from `base` on, so that several steps of a shard are one block of rows.

A row of `operand` (R, d + 1 + Hp) is [x | 1 | the state that enters the product]. `decay` (R, Hp) multiplies the carried state before the step,
`mask` (B, Hp) what enters the product in addition; both may be None. `kept` holds the carried state in its columns from `place` on: it is
`operand` itself while there is no mask.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width


class Walk(NamedTuple):
    """The steps of a shard: sizes and offsets (T,) of the packed rows, the shard's first own row, its sequences, and the direction."""

    sizes: Any
    offsets: Any
    base: int
    first: int
    last: int
    reverse: bool


class Carry(NamedTuple):
    """What carries the state from step to step."""

    operand: Any
    kept: Any
    place: int
    decay: Any
    mask: Any


@jit(counted=False)
def rows_at(walk, k):
    """(rows, first packed row) of the k-th step of the walk."""
    t = walk.sizes.shape[0] - 1 - k if walk.reverse else k
    return max(0, min(walk.last, walk.sizes[t]) - walk.first), walk.offsets[t] + walk.first


@jit(counted=False)
def begin(x, state, operand, kept, place, decay, mask, row, own, rows, first):
    """Write the rows of one step's operand: the inputs, the 1 of the bias, and the state of the step before."""
    inputs, lanes = x.shape[1], width(state)
    for i in range(rows):
        r, b = own + i, first + i
        for j in range(inputs):
            operand[r, j] = x[row + i, j]
        operand[r, inputs] = 1
        for j in range(0, state.shape[1], lanes):
            h = load(state, b, j)
            if decay is not None:
                h = h * load(decay, row + i, j)
            store(kept, r, place + j, h)
            if mask is not None:
                store(operand, r, inputs + 1 + j, h * load(mask, b, j))


@jit(counted=False)
def finish(state, output, row, rows, first):
    """Write the rows of one step's output: the states, without the padding."""
    units = output.shape[1]
    for i in range(rows):
        for j in range(units):
            output[row + i, j] = state[first + i, j]


@jit(counted=False)
def receive(upstream, gradient, row, rows, first):
    """Add the gradient of one step's output to that of the state."""
    units = upstream.shape[1]
    for i in range(rows):
        for j in range(units):
            gradient[first + i, j] += upstream[row + i, j]


@jit(counted=False)
def hand_back(gradient, product, kept, place, decay, mask, d_log_decay, row, own, rows, first):
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
                store(d_log_decay, r, j, g * load(kept, own + i, place + j))
                g = g * load(decay, r, j)
            store(gradient, b, j, g)
