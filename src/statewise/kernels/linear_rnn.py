"""The linear RNN in innovations form over a batch, forward and backward, on plain arrays.

ŷ[t] = C h[t] + o[t];  e[t] = y[t] − ŷ[t];  h[t+1] = A h[t] + s[t] + K[t] e[t], with what inputs and intercepts add in s and o.

Layout, for N sequences of T steps, n states padded to np and p observed columns padded to pp, multiples of the width of a block: row
t N + i of a matrix is step t of sequence i; padding is 0. The last of the gains serves all later steps. A shard is the sequences [first, last).
"""

from __future__ import annotations

from statewise.kernels._jit import jit
from statewise.kernels._lanes import load, store, width, zeros
from statewise.kernels._product import product


@jit(counted=False)
def forward(y, at_state, at_observation, both, gain, n, p, steps, first, last, work, states, expected, errors):
    """Fill `states` ((T + 1) N, np), whose first N rows are h[1], `expected` (T N, p) and `errors` (T N, pp).

    y (T N, p) is complete. `both` (n, np + pp) is [Aᵀ | Cᵀ] and `gain` (L p, np) has K[t]ᵀ in its rows from t p on. at_state (T N, np) and
    at_observation (T N, pp) may be one row for all. `work` (N, 2 np + pp) is room.
    """
    N, width_n, width_p, lanes = work.shape[0], gain.shape[1], errors.shape[1], width(work)
    last_gain, rows, each = gain.shape[0] // p - 1, last - first, at_state.shape[0] > 1
    for t in range(steps):
        row, here = t * N + first, t * N + first
        product(states, here, rows, 0, n, both, 0, 0, width_n + width_p, work, first, 0)
        for i in range(rows):
            own = row + i if each else 0
            for j in range(0, width_p, lanes):
                store(errors, row + i, j, load(work, first + i, width_n + j) + load(at_observation, own, j))
            for q in range(p):
                value = errors[row + i, q]
                expected[row + i, q] = value
                errors[row + i, q] = y[row + i, q] - value
        product(errors, row, rows, 0, p, gain, min(t, last_gain) * p, 0, width_n, work, first, width_n + width_p)
        for i in range(rows):
            own = row + i if each else 0
            for j in range(0, width_n, lanes):
                moved = load(work, first + i, j) + load(at_state, own, j)
                store(states, row + N + i, j, moved + load(work, first + i, width_n + width_p + j))


@jit(counted=False)
def backward(upstream, both, gain, n, p, steps, first, last, work, d_states, d_expected, d_errors):
    """Fill d_states ((T + 1) N, np), d_expected (T N, pp), the gradients of h and of ŷ, and d_errors (T N, pp), that of e, which is that of y.

    ::

        ē[t] = K[t]ᵀ h̄[t+1];   ŷ̄[t] = upstream[t] − ē[t];   h̄[t] = Aᵀ h̄[t+1] + Cᵀ ŷ̄[t]

    The last N rows of d_states come in as the gradient of the last state. `both` (n + p, np) is A on top of C, `gain` (L n, pp) has K[t]
    in its rows from t n on; `upstream` is (T N, p). `work` (N, 2 np) is room.
    """
    N, width_n, width_p, lanes = work.shape[0], both.shape[1], gain.shape[1], width(work)
    last_gain, rows = gain.shape[0] // n - 1, last - first
    for back in range(steps):
        t = steps - 1 - back
        row = t * N + first
        product(d_states, row + N, rows, 0, n, gain, min(t, last_gain) * n, 0, width_p, d_errors, row, 0)
        for i in range(rows):
            for j in range(0, width_p, lanes):
                store(d_expected, row + i, j, zeros(work) - load(d_errors, row + i, j))
            for q in range(p):
                d_expected[row + i, q] += upstream[row + i, q]
        product(d_states, row + N, rows, 0, n, both, 0, 0, width_n, work, first, 0)
        product(d_expected, row, rows, 0, p, both, n, 0, width_n, work, first, width_n)
        for i in range(rows):
            for j in range(0, width_n, lanes):
                store(d_states, row + i, j, load(work, first + i, j) + load(work, first + i, width_n + j))
