"""Columns of few distinct values: which they are, and sums over the rows of each."""

from __future__ import annotations

from statewise.kernels._jit import jit


@jit
def count_codes(column, counts):
    """Add how often each whole number c is in `column` to counts[c + 1], NaN to counts[0]; False where a value is none of them."""
    fits, last = True, counts.shape[0] - 1
    for t in range(column.shape[0]):
        value = column[t]
        code = int(value) if 0.0 <= value < last else -1
        fits = fits and ((code >= 0 and value == code) or value != value)
        counts[code + 1] += 1
    return fits


@jit
def renumber(column, number, which):
    """which[t] = number[c + 1], c the whole number in row t, −1 for NaN."""
    for t in range(column.shape[0]):
        value = column[t]
        which[t] = number[int(value) + 1 if value >= 0.0 else 0]


@jit
def totals(which, w, first, last, sums):
    """Add the rows `first` to `last` of w (rows, K) to the rows of `sums` that `which` (rows,) names."""
    K = w.shape[1]
    numbers, weights = which[first:last], w[first:last]
    for t in range(last - first):
        total = sums[numbers[t]]
        for k in range(K):
            total[k] += weights[t, k]
