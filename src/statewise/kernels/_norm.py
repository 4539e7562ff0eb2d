"""Layer normalisation of one row inside a recurrent step, forward and backward.

::

    m = mean of a over the units    s² = mean of (a − m)² + 1e-5    â = (a − m) / s    out = gain · â + shift
    ∂a = (e − mean e − â · mean(e â)) / s,  e = gain · ∂out         ∂gain = Σ ∂out · â          ∂shift = Σ ∂out

`table` (3, n) has the rows gain, shift and 1 where a column is a unit (0 in the padding); `normed` (R, n + a block) keeps â and, behind it, 1 / s.

Source: Ba, Kiros and Hinton, *Layer Normalization* (2016), §3: the sums that a layer's units receive are normalised.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, total, width, zeros

_EPSILON = 1e-5  # of torch.nn.LayerNorm


class Norm(NamedTuple):
    """What is normalised in a step: the sums of the gates from the state, (R, G Hp) from column `column` of the gates on, and an LSTM's cell.

    `given` (R, G H) is what the gates receive besides, gate g in block ``into[g]``; for a plain network, where the sums from input and state are
    normalised as one, it is None. `units` is H.
    """

    gates: Any
    gates_normed: Any
    column: int
    given: Any
    into: Any
    units: int
    cell: Any
    cell_normed: Any


@jit(counted=False)
def normalise(a, row, column, table, normed, own, out, out_row, out_column, count):
    """out[out_row, out_column …] ← the norm of a[row, column …], in which columns of padding are 0; `count` columns are units."""
    columns, lanes = table.shape[1], width(table)
    sums = zeros(table)
    for j in range(0, columns, lanes):
        sums = sums + load(a, row, column + j)
    mean = total(sums) / count
    squares = zeros(table)
    for j in range(0, columns, lanes):
        d = (load(a, row, column + j) - mean) * load(table, 2, j)
        squares = squares + d * d
        store(normed, own, j, d)
    inverse = 1.0 / math.sqrt(total(squares) / count + _EPSILON)
    for j in range(0, columns, lanes):
        d = load(normed, own, j) * inverse
        store(normed, own, j, d)
        store(out, out_row, out_column + j, d * load(table, 0, j) + load(table, 1, j))
    normed[own, columns] = inverse


@jit(counted=False)
def through(g, row, column, table, normed, own, sums, count):
    """g[row, column …]: ∂out → ∂a; the rows of `sums` (2, n) gain what this row adds to ∂gain and ∂shift."""
    columns, lanes = table.shape[1], width(table)
    plain, along = zeros(table), zeros(table)
    for j in range(0, columns, lanes):
        e, d = load(g, row, column + j), load(normed, own, j)
        store(sums, 0, j, load(sums, 0, j) + e * d)
        store(sums, 1, j, load(sums, 1, j) + e)
        e = e * load(table, 0, j)
        plain = plain + e
        along = along + e * d
    mean, slope, inverse = total(plain) / count, total(along) / count, normed[own, columns]
    for j in range(0, columns, lanes):
        e = load(g, row, column + j) * load(table, 0, j) - mean - load(normed, own, j) * slope
        store(g, row, column + j, e * load(table, 2, j) * inverse)


@jit(counted=False)
def _add_given(given, into, units, padded, saved, row, own):
    if given is not None:
        for g in range(into.shape[0]):
            for j in range(units):
                saved[own, into[g] * padded + j] += given[row, g * units + j]


@jit(counted=False)
def _take_given(d_given, into, units, padded, d_gates, row, at):
    if d_given is not None:
        for g in range(into.shape[0]):
            for j in range(units):
                d_given[row, g * units + j] = d_gates[at, into[g] * padded + j]


@jit(counted=False)
def normalise_gates(norm, saved, row, own, rows):
    """The sums from the state normalised in place, and what the gates receive besides added."""
    gates, table, normed, begin = norm.into.shape[0], norm.gates, norm.gates_normed, norm.column
    for i in range(own, own + rows):
        normalise(saved, i, begin, table, normed, i, saved, i, begin, gates * norm.units)
        _add_given(norm.given, norm.into, norm.units, table.shape[1] // gates, saved, row + i - own, i)


@jit(counted=False)
def gates_back(norm, d_gates, at, own, row, rows, d_given, d_norm):
    """`d_given` ← the gradients of what the gates received besides; those in `d_gates` ← of the sums from the state."""
    gates, table = norm.into.shape[0], norm.gates
    for i in range(rows):
        _take_given(d_given, norm.into, norm.units, table.shape[1] // gates, d_gates, row + i, at + i)
        through(d_gates, at + i, norm.column, table, norm.gates_normed, own + i, d_norm, gates * norm.units)
