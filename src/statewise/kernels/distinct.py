"""Columns of few distinct values: which they are, and sums over the rows of each."""

from __future__ import annotations

from statewise.kernels._jit import jit


@jit
def whole_codes(column, most, which):
    """which[t] = the number in row t, −1 for NaN; the largest of them, or −2 where a value is not whole, below 0 or above `most`."""
    top, wrong = -1, 0
    for t in range(column.shape[0]):
        value = column[t]
        fits = 0.0 <= value <= most
        code = int(value) if fits else -1
        which[t] = code
        top = max(top, code)
        wrong += 0 if (value == float(code) if fits else value != value) else 1
    return top if wrong == 0 else -2


@jit
def mark(which, seen):
    """seen[c + 1] = True for each number c in `which`: apart from `whole_codes`, which is then done in vectors."""
    for t in range(which.shape[0]):
        seen[which[t] + 1] = True


@jit
def renumber(which, number):
    """Each number c in `which` becomes number[c + 1]."""
    for t in range(which.shape[0]):
        which[t] = number[which[t] + 1]


@jit
def totals(which, w, first, last, sums):
    """Add the rows `first` to `last` of w (rows, K) to the rows of `sums` that `which` (rows,) names."""
    K = w.shape[1]
    numbers, weights = which[first:last], w[first:last]
    for t in range(last - first):
        total = sums[numbers[t]]
        for k in range(K):
            total[k] += weights[t, k]
