"""RNN, GRU and LSTM over whole sequences, forward and backward; the steps' own equations are in `elman`, `gru` and `lstm`.

One call does a shard of the sequences from its first step to its last, so that shards need no synchronisation inside a sequence.
Forward: the product of [x | 1 | h] with the weights, which stay in the cache, then the gates. Backward: the gradients of the gates, of a few
dozen rows at a time, give those of the state, the inputs and the weights while they are in the cache.
`_steps` has the layout of rows and columns, `_norm` that of layer norm.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from statewise.kernels import elman, gru, lstm
from statewise.kernels._jit import jit
from statewise.kernels._norm import gates_back, normalise_gates
from statewise.kernels._product import product
from statewise.kernels._steps import begin, finish, hand_back, receive, rows_at
from statewise.kernels._weights import weight_gradient

RELU, TANH, GRU, LSTM = range(4)
CHUNK = 64  # rows whose gradients stay in the first cache


class Found(NamedTuple):
    """Where the backward pass puts what it finds besides the gradients of the states.

    Attributes:
        d_x: (R, d), or None where the inputs need no gradient.
        d_weight: (d + 1 + Hp, blocks Hp) of `weight`, added up; or None.
        d_log_decay: (R, Hp), or None without a decay.
        d_given, d_norm, d_cell_norm: see `_norm`; None without a norm.
    """

    d_x: Any
    d_weight: Any
    d_log_decay: Any
    d_given: Any
    d_norm: Any
    d_cell_norm: Any


@jit(counted=False)
def weigh(kind, inputs, operand, own, rows, weight, saved, padded):
    """The first columns of `saved` ← [x | 1 | h] times the weights; a GRU's candidate keeps what comes from the input and from the state apart."""
    if kind == GRU:
        wide = operand.shape[1]
        product(operand, own, rows, 0, inputs + 1, weight, 0, 0, padded, saved, own, 0)
        product(operand, own, rows, 0, wide, weight, 0, padded, 2 * padded, saved, own, padded)
        product(operand, own, rows, inputs, wide, weight, inputs, 3 * padded, padded, saved, own, 3 * padded)
    else:
        product(operand, own, rows, 0, operand.shape[1], weight, 0, 0, weight.shape[1], saved, own, 0)


@jit(counted=False)
def forward(kind, x, carry, norm, weight, saved, state, cell, output, walk):
    """Fill `output` (R, H), and `operand`, `kept` and `saved` for the backward pass.

    `state` and, for the LSTM, `cell` (B, Hp) are the first h and c on entry and the last on return; `cell` is None for the others.
    """
    operand, kept, place, decay, mask = carry
    own, first, padded = walk.base, walk.first, state.shape[1]
    for k in range(walk.sizes.shape[0]):
        rows, row = rows_at(walk, k)
        begin(x, state, operand, kept, place, decay, mask, row, own, rows, first)
        weigh(kind, x.shape[1], operand, own, rows, weight, saved, padded)
        if norm is not None:
            normalise_gates(norm, saved, row, own, rows)
        if cell is not None:
            lstm.advance(saved, own, row, rows, decay, norm, state, cell, first)
        elif kind == GRU:
            gru.advance(saved, own, rows, kept, place, state, first)
        else:
            elman.advance(saved, own, rows, state, first, kind == RELU)
        finish(state, output, row, rows, first)
        own += rows


@jit(counted=False)
def _input_gradient(walk, begun, ended, d_gates, at, meeting, aside, narrow, d_x):
    """d_x of the backward steps [begun, ended), if wanted: the first `meeting` columns of `d_gates`, from row `at` on, times `aside`.

    `narrow` (as `d_gates`, dp) is scratch.
    """
    if d_x is not None:
        full, steps = d_gates.shape[0], walk.sizes.shape[0]
        product(d_gates, at, full - at, 0, meeting, aside, 0, 0, aside.shape[1], narrow, at, 0)
        for back_k in range(begun, ended):
            rows, row = rows_at(walk, steps - 1 - back_k)
            full -= rows
            for i in range(rows):
                for k in range(d_x.shape[1]):
                    d_x[row + i, k] = narrow[full + i, k]


@jit(counted=False)
def backward(
    kind, upstream, carry, norm, blocks, back, aside, saved, gradient, d_cell, d_gates, work, narrow, found, walk, end
):
    """Fill `found`, given the gradients `upstream` (R, H) of the outputs.

    `gradient` and, for the LSTM, `d_cell` (B, Hp) are those of the last h and c on entry, of the first on return. `end` is behind the
    shard's last own row; `blocks` are (into, onto) of `_weights`. `d_gates` (n, blocks Hp), `narrow` (n, dp) and `work` (B, Hp) are scratch;
    n is at least the shard's sequences, and better `CHUNK` more.
    """
    operand, kept, place, decay, mask = carry
    into, onto = blocks
    own, first, padded = end, walk.first, gradient.shape[1]
    inputs, gates, states = operand.shape[1] - padded - 1, into.shape[0] * padded, onto.shape[0] * padded
    at, full = d_gates.shape[0], d_gates.shape[0]  # rows [at, full) belong to the own rows [own, own + full − at)
    steps, begun = walk.sizes.shape[0], 0
    for back_k in range(steps):
        rows, row = rows_at(walk, steps - 1 - back_k)
        if at < rows:
            weight_gradient(operand, own, full - at, d_gates, at, inputs, into, onto, found.d_weight)
            _input_gradient(walk, begun, back_k, d_gates, at, gates, aside, narrow, found.d_x)
            at, begun = full, back_k
        own, at = own - rows, at - rows
        receive(upstream, gradient, row, rows, first)
        if d_cell is not None:
            lstm.retreat(saved, own, rows, norm, found.d_cell_norm, gradient, d_cell, work, first, d_gates, at)
        elif kind == GRU:
            gru.retreat(saved, own, rows, kept, place, gradient, first, d_gates, at)
        else:
            elman.retreat(saved, own, rows, gradient, first, kind == RELU, d_gates, at)
        if norm is not None:
            gates_back(norm, d_gates, at, own, row, rows, found.d_given, found.d_norm)
        behind = d_gates.shape[1]
        product(d_gates, at, rows, behind - states, behind, back, 0, 0, padded, work, first, 0)
        hand_back(gradient, work, kept, place, decay, mask, found.d_log_decay, row, own, rows, first)
        if d_cell is not None:
            lstm.decay_back(saved, own, row, rows, decay, d_cell, found.d_log_decay, first)
    weight_gradient(operand, own, full - at, d_gates, at, inputs, into, onto, found.d_weight)
    _input_gradient(walk, begun, steps, d_gates, at, gates, aside, narrow, found.d_x)
