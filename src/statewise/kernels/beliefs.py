"""The softmax RNN that a hidden Markov model is, over a batch of sequences of one length, forward and backward.

z[t] = log(Pᵀ softmax(z[t−1])) + log b(y[t]) in the beliefs a = softmax(z), which need no logarithm: x = b[t] ∘ f[t], f[t] = Pᵀ a[t−1],
a[t] = x / Σ x. `kernels.hmm` is about one sequence, or about many in the lanes of a vector; here the states are in the lanes and
the sequences are rows, as in the recurrent layers, and every output has a gradient.

Layout, for N sequences of T steps and K states padded to Kp, a multiple of the width of a block: row t N + n of a matrix is step t of
sequence n; padding is 0. A shard is the sequences [first, last).

What doubles would lose (a sum or, where P has zeros, a state below `SMALL`) is not tried: the functions then say False.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels._lanes import clip, larger, largest, load, store, total, width, zeros
from statewise.kernels._product import product
from statewise.kernels._vector_math import parts
from statewise.kernels.hmm import SMALL

_LEAST = -708.0  # exp of less is below the normal doubles
_DEEP = -600.0  # a log-likelihood ratio below this may be lost in exp


@jit(counted=False)
def _exp(x):
    """exp(x) of a block up to 0, within two units in the last place, less exp(−708): exactly 0 from −708 down; NaN stays NaN."""
    power, q = parts(clip(x, _LEAST, 0.0))
    return power * q + power


@jit(counted=False)
def likelihoods(table, sparse, first, last, b, tops):
    """b (R, Kp) = exp(table (R, K) − top) of the rows [first, last), top (R,) the largest of a row; False where that loses something.

    b may be `table` itself where no column is padding.
    """
    K, padded, lanes, fine = table.shape[1], b.shape[1], width(b), True
    nothing = _exp(zeros(b) + _LEAST)
    for row in range(first, last):
        if padded > K:
            for k in range(K):
                b[row, k] = table[row, k]
            for k in range(K, padded):
                b[row, k] = -np.inf
        source = table if padded == K else b
        most = load(source, row, 0)
        for j in range(lanes, padded, lanes):
            most = larger(most, load(source, row, j))
        top = largest(most)
        fine = fine and -np.inf < top < np.inf
        tops[row] = top
        if sparse:
            for k in range(K):
                fine = fine and not -np.inf < table[row, k] - top < _DEEP
        for j in range(0, padded, lanes):
            store(b, row, j, _exp(load(source, row, j) - top) - nothing)
    return fine


@jit(counted=False)
def _keeps_digits(f, b, row, ahead, K):
    """Whether no state that is possible before the row and by it becomes too small."""
    fine = True
    for k in range(K):
        before, own = f[ahead, k], b[row, k]
        fine = fine and not (before > 0.0 and own > 0.0 and before * own < SMALL)
    return fine


@jit(counted=False)
def forward(b, P, start, sparse, keep, steps, first, last, f, belief, totals):
    """Fill `belief` (T N, Kp) and `totals` (T N,), the sums of x; False where digits would be lost.

    P (K, Kp); `start` (N, Kp) is f[1]; f is (T N, Kp), or (N, Kp) where it is not wanted. With `keep`, b becomes b / Σ x, as `backward`
    wants it; without, `belief` may be b itself.
    """
    N, K, padded, lanes = start.shape[0], P.shape[0], P.shape[1], width(P)
    all_f, rows, fine = f.shape[0] > N, last - first, True
    for t in range(steps):
        row, here = t * N + first, t * N + first if all_f else first
        if t == 0:
            for i in range(rows):
                for j in range(0, padded, lanes):
                    store(f, here + i, j, load(start, first + i, j))
        else:
            product(belief, row - N, rows, 0, K, P, 0, 0, padded, f, here, 0)
        for i in range(rows):
            sums = zeros(P)
            for j in range(0, padded, lanes):
                sums = sums + load(f, here + i, j) * load(b, row + i, j)
            mass = total(sums)
            fine = fine and mass > SMALL
            totals[row + i] = mass
            scale = 1.0 / mass if mass > 0.0 else 0.0
            if sparse:
                fine = fine and _keeps_digits(f, b, row + i, here + i, K)
            for j in range(0, padded, lanes):
                share = load(b, row + i, j) * scale
                if keep:
                    store(b, row + i, j, share)
                store(belief, row + i, j, load(f, here + i, j) * share)
        if not fine:
            return False
    return True


@jit(counted=False)
def _receive(upstream, row, rows, K, into, first):
    for i in range(rows):
        for k in range(K):
            into[first + i, k] += upstream[row + i, k]


@jit(counted=False)
def backward(upstream, d_steps, d_predicted, belief, ratio, P_T, steps, first, last, carry, d_f, d_table):
    """Fill d_table (T N, Kp), the gradient of the log-likelihoods, and d_f (T N, Kp), that of the predictions.

    ::

        u[t] = ā[t] + P f̄[t+1];   ∂table[t] = a[t] ∘ (u[t] − a[t]·u[t] + s̄[t]);   f̄[t] = (u[t] − a[t]·u[t] + s̄[t]) ∘ b[t] / Σ x + p̄[t]

    for the gradients ā (T N, K), s̄ (T N,) and p̄ (T N, K) of beliefs, log densities and predictions, each of which may be empty.
    `ratio` is what `forward` made of b; P_T (K, Kp) is P transposed; `carry` (N, Kp) is room, zeros at first.
    """
    N, K, padded, lanes, rows = carry.shape[0], P_T.shape[0], carry.shape[1], width(carry), last - first
    for back in range(steps):
        row = (steps - 1 - back) * N + first
        if upstream.shape[0] > 0:
            _receive(upstream, row, rows, K, carry, first)
        for i in range(rows):
            sums = zeros(carry)
            for j in range(0, padded, lanes):
                sums = sums + load(belief, row + i, j) * load(carry, first + i, j)
            shift = -total(sums)
            if d_steps.shape[0] > 0:
                shift += d_steps[row + i]
            for j in range(0, padded, lanes):
                u = load(carry, first + i, j) + shift
                store(d_table, row + i, j, u * load(belief, row + i, j))
                store(d_f, row + i, j, u * load(ratio, row + i, j))
        if d_predicted.shape[0] > 0:
            _receive(d_predicted, row, rows, K, d_f, row)
        product(d_f, row, rows, 0, K, P_T, 0, 0, padded, carry, first, 0)
