"""Products of a few rows with a weight matrix that stays in the cache: the heart of a recurrent step."""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import multiply_rows, width


@jit(counted=False)
def _four_rows(a, row, first, last, w, w_row, column, out, out_row, out_column, columns):
    lanes, j = width(w), 0
    while j + 4 * lanes <= columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 4, 4)
        j += 4 * lanes
    if j + 2 * lanes <= columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 4, 2)
        j += 2 * lanes
    if j < columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 4, 1)


@jit(counted=False)
def _one_row(a, row, first, last, w, w_row, column, out, out_row, out_column, columns):
    lanes, j = width(w), 0
    while j + 8 * lanes <= columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 1, 8)
        j += 8 * lanes
    if j + 4 * lanes <= columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 1, 4)
        j += 4 * lanes
    if j + 2 * lanes <= columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 1, 2)
        j += 2 * lanes
    if j < columns:
        multiply_rows(a, row, first, last, w, w_row, column + j, out, out_row, out_column + j, 1, 1)


@jit(counted=False)
def product(a, row, rows, first, last, w, w_row, column, columns, out, out_row, out_column):
    """out[out_row + i, out_column + j] ← Σₖ a[row + i, first + k] w[w_row + k, column + j] for i < rows, j < columns, k < last − first.

    All matrices are C-contiguous, of one type; `columns` is a multiple of the width of a block.
    """
    i = 0
    while i + 4 <= rows:
        _four_rows(a, row + i, first, last, w, w_row, column, out, out_row + i, out_column, columns)
        i += 4
    while i < rows:
        _one_row(a, row + i, first, last, w, w_row, column, out, out_row + i, out_column, columns)
        i += 1
