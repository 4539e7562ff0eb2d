"""Hidden Markov recursions over many stretches of rows side by side, one in each lane of a vector.

One row waits for the row before it; `LANES` stretches that know nothing of each other do not wait. A stretch is a sequence, or a
part of a long one: rows first[n] to first[n] + count[n]. `LANES` of them in turn make a group, longest first; a kernel does the
groups `begin` to `end`. Row t, state k of a group is the vector at (t K + k) LANES of a flat array.

Letters as in `kernels.hmm`; P (K²,) is flat. The backward pass carries w[t] = b[t] ∘ β[t] / total[t], of which β[t − 1] = P w[t],
g[t] = a[t] ∘ β[t], and the expected transitions are a[t, i] P[i, j] w[t + 1, j]: no division by a probability. β is scaled so that
g sums to one, anew in every block.

L (rows, K) has log-likelihoods. Or rows are alike: then `which` (rows,) is not empty, L (m, K) has the likelihoods of the distinct ones,
each over its largest, `top` (m,) has the logarithm of that, and row r is number which[r] of them.

What a lane can't do (a likelihood that is NaN or nowhere possible, a state that doubles lose) it does not try: the functions return
False and the sequences go to `kernels.hmm`.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._elementary import exp_in_place, log_in_place
from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES, add_product, larger, load, positive, smaller, spread, store
from statewise.kernels.hmm import SMALL

BLOCK = 64  # rows that are looked up, done and written back together
_DEEP = -600.0  # a log-likelihood ratio below this may be lost in exp


@jit
def _copy(L, low, count, b, K, rows):
    """The rows from `low` on of each lane of a group into b; zeros where a lane has none."""
    for lane in range(LANES):
        into, have = b[lane:], min(max(count[lane], 0), rows)
        source = L[low[lane] : low[lane] + have].reshape(have * K)
        for s in range(have * K):
            into[s * LANES] = source[s]
        for s in range(have * K, rows * K):
            into[s * LANES] = 0.0


@jit
def _look_up(likelihood, top, which, low, count, b, tops, K, rows):
    """The likelihoods of the rows from `low` on of each lane of a group, from a table of distinct ones; ones where a lane has none."""
    for lane in range(LANES):
        into, into_top, have = b[lane:], tops[lane:], min(max(count[lane], 0), rows)
        numbers = which[low[lane] : low[lane] + have]
        for t in range(have):
            number = numbers[t]
            into_top[t * LANES] = top[number]
            for k in range(K):
                into[(t * K + k) * LANES] = likelihood[number, k]
        for s in range(have * K, rows * K):
            into[s * LANES] = 1.0
        for t in range(have, rows):
            into_top[t * LANES] = 0.0


@jit(fast=True)
def _take_top(b, tops, K, rows):
    """b ← b − top, top the largest of the row; NaN where that is no number."""
    for t in range(rows):
        top = load(b, t * K * LANES)
        for k in range(1, K):
            top = larger(load(b, (t * K + k) * LANES), top)
        store(tops, t * LANES, top)
        for k in range(K):
            at = (t * K + k) * LANES
            store(b, at, load(b, at) - top)


@jit
def _is_deep(b, size):
    found = False
    for i in range(size):
        found = found or -np.inf < b[i] < _DEEP
    return found


@jit
def _likelihoods(L, top, which, low, count, sparse, b, tops, work, K, rows):
    """b = exp(L − top) for `rows` rows of a group; whether none of them will be missed."""
    if which.shape[0] > 0:
        _look_up(L, top, which, low, count, b, tops, K, rows)
        return True
    _copy(L, low, count, b, K, rows)
    _take_top(b, tops, K, rows)
    size = rows * K * LANES
    fine = not (sparse and _is_deep(b, size))
    exp_in_place(b[:size], work[:size])
    return fine


@jit(fast=True)
def _ahead(P, b, law, fresh, sparse, keep, K, rows, before, x, f, totals, lows):
    """A block of the forward pass: x = f ∘ b with f = Pᵀ x[t − 1] / total[t − 1], total = Σ x; into `lows` the least x that matters.

    `before` (K LANES,) is the last row's x over its total, and is left so for the next block; where `fresh`, f[0] = `law`.
    """
    least, one = spread(1.0), spread(1.0)
    scale = one
    for t in range(rows):
        total = spread(0.0)
        for j in range(K):
            at = (t * K + j) * LANES
            if t > 0:
                back = (t - 1) * K * LANES
                c = load(x, back) * spread(P[j])
                for i in range(1, K):
                    c = add_product(c, load(x, back + i * LANES), spread(P[i * K + j]))
                c = c * scale
            elif fresh:
                c = load(law, j * LANES)
            else:
                c = load(before, 0) * spread(P[j])
                for i in range(1, K):
                    c = add_product(c, load(before, i * LANES), spread(P[i * K + j]))
            likelihood = load(b, at)
            value = c * likelihood
            store(x, at, value)
            total = total + value
            if keep:
                store(f, at, c)
            if sparse:
                least = smaller(positive(c, positive(likelihood, value, one), one), least)
        store(totals, t * LANES, total)
        scale = one / total
    for k in range(K):
        store(before, k * LANES, load(x, ((rows - 1) * K + k) * LANES) * scale)
    store(lows, 0, least)


@jit
def _all_above(x, size, bound):
    found = True
    for i in range(size):
        found = found and x[i] > bound
    return found


@jit
def _write(x, low, count, K, rows, table):
    """The rows of a block into their places in `table` (rows, K)."""
    for lane in range(LANES):
        have = min(max(count[lane], 0), rows)
        source, into = x[lane:], table[low[lane] : low[lane] + have].reshape(have * K)
        for s in range(have * K):
            into[s] = source[s * LANES]


@jit
def _write_steps(tops, totals, low, count, rows, work, spare, steps):
    size = rows * LANES
    work[:size] = totals[:size]
    log_in_place(work[:size], spare[:size])
    for i in range(size):
        work[i] += tops[i]
    for lane in range(LANES):
        have = min(max(count[lane], 0), rows)
        source, into = work[lane:], steps[low[lane] : low[lane] + have]
        for t in range(have):
            into[t] = source[t * LANES]


@jit
def _group(n, first, count, law, K, firsts, counts, laws):
    """First rows, numbers of rows and laws of the stretches of group n, one in each lane; returns the largest number."""
    longest = 0
    for lane in range(LANES):
        which = n * LANES + lane
        there = which < count.shape[0]
        firsts[lane] = first[which] if there else 0
        counts[lane] = count[which] if there else 0
        longest = max(longest, counts[lane])
        for k in range(K):
            laws[k * LANES + lane] = law[which, k] if there else 1.0 / K
    return longest


@jit
def _forward_group(
    P, L, top, which, firsts, counts, laws, longest, sparse, b, x, totals, tops, work, spare, before, steps
):
    """The forward pass over one group, b, x and totals being kept for the way back; False where lanes cannot do it."""
    K = before.shape[0] // LANES
    low, left = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    lows = np.empty(LANES)
    for at in range(0, longest, BLOCK):
        rows = min(BLOCK, longest - at)
        for lane in range(LANES):
            low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
        b_t, x_t, totals_t = b[at * K * LANES :], x[at * K * LANES :], totals[at * LANES :]
        if not _likelihoods(L, top, which, low, left, sparse, b_t, tops, work, K, rows):
            return False
        _ahead(P, b_t, laws, at == 0, sparse, False, K, rows, before, x_t, x_t, totals_t, lows)
        if not (_all_above(totals_t, rows * LANES, SMALL) and _all_above(lows, LANES, SMALL)):
            return False
        _write_steps(tops, totals_t, low, left, rows, work, spare, steps)
    return True


@jit(fast=True)
def _back(P, b, x, totals, K, rows, beta, w, pairs):
    """A block of the backward pass: x becomes g, and Σ a[t, i] w[t + 1, j] is added to `pairs` (K² LANES,)."""
    one, tiny = spread(1.0), spread(1e-300)
    for back in range(rows):
        t = rows - 1 - back
        scale = one / load(totals, t * LANES)
        if back == 0:
            total = spread(0.0)
            for i in range(K):
                total = add_product(total, load(x, (t * K + i) * LANES), load(beta, i * LANES))
            fit = one / larger(total * scale, tiny)
            for i in range(K):
                store(beta, i * LANES, load(beta, i * LANES) * fit)
                store(w, i * LANES, load(w, i * LANES) * fit)
        for i in range(K):
            at = (t * K + i) * LANES
            value = load(x, at) * scale
            for j in range(K):
                pair = (i * K + j) * LANES
                store(pairs, pair, add_product(load(pairs, pair), value, load(w, j * LANES)))
            store(x, at, value * load(beta, i * LANES))
        for j in range(K):
            store(w, j * LANES, load(b, (t * K + j) * LANES) * load(beta, j * LANES) * scale)
        for i in range(K):
            total = load(w, 0) * spread(P[i * K])
            for j in range(1, K):
                total = add_product(total, load(w, j * LANES), spread(P[i * K + j]))
            store(beta, i * LANES, total)


@jit
def smooth(P, L, top, which, first, count, law, tail, final, sparse, begin, end, steps, smoothed, pairs, ends, heads):
    """Log-likelihoods and smoothed probabilities of the rows; Σ a[t, i] w[t + 1, j] added to `pairs` (K, K).

    `law` (N, K) is the predicted law of each stretch's first row, `tail` (N, K) w of the row after its last, in any scale; a stretch
    that is `final` (N,) has none. The filtered law of its last row goes into `ends` (N, K), w of its first into `heads`.
    """
    K = law.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    longest = 0
    for n in range(begin, end):
        longest = max(longest, count[n * LANES])
    b, x, totals = np.empty(longest * K * LANES), np.empty(longest * K * LANES), np.empty(longest * LANES)
    size = BLOCK * K * LANES
    tops, work, spare, before = np.empty(BLOCK * LANES), np.empty(size), np.empty(size), np.empty(K * LANES)
    beta, w, lanes = np.empty(K * LANES), np.empty(K * LANES), np.zeros(K * K * LANES)
    low, left = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for n in range(begin, end):
        longest = _group(n, first, count, law, K, firsts, counts, laws)
        if not _forward_group(
            P, L, top, which, firsts, counts, laws, longest, sparse, b, x, totals, tops, work, spare, before, steps
        ):
            return False
        _start_lanes(x, totals, K, n, counts, ends)
        high = longest
        for i in range(K * LANES):
            beta[i], w[i] = 0.0, 0.0
        while high > 0:
            at = max(high - BLOCK, 0)
            for lane in range(LANES):
                if counts[lane] == high:
                    _turn(P, tail, final, n * LANES + lane, lane, K, beta, w)
                elif counts[lane] < high:
                    at = max(at, counts[lane])
            _back(P, b[at * K * LANES :], x[at * K * LANES :], totals[at * LANES :], K, high - at, beta, w, lanes)
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
            _write(x[at * K * LANES :], low, left, K, high - at, smoothed)
            high = at
        for lane in range(LANES):
            if counts[lane] > 0:
                for k in range(K):
                    heads[n * LANES + lane, k] = w[k * LANES + lane]
    for i in range(K * K):
        for lane in range(LANES):
            pairs[i // K, i % K] += lanes[i * LANES + lane]
    return True


@jit
def _start_lanes(x, totals, K, n, counts, ends):
    """The filtered law of each lane's last row."""
    for lane in range(LANES):
        if counts[lane] > 0:
            t = counts[lane] - 1
            for k in range(K):
                ends[n * LANES + lane, k] = x[(t * K + k) * LANES + lane] / totals[t * LANES + lane]


@jit
def _turn(P, tail, final, n, lane, K, beta, w):
    """β of the last row of stretch n, and w of the row after it: ones and nothing where the sequence ends there."""
    for i in range(K):
        value = 1.0 if final[n] else 0.0
        for j in range(K):
            value += 0.0 if final[n] else P[i * K + j] * tail[n, j]
        beta[i * LANES + lane] = value
        w[i * LANES + lane] = 0.0 if final[n] else tail[n, i]


@jit
def guess_tails(P, L, top, which, first, count, begin, end, tail):
    """`tail` (N, K): w of each stretch's first row from its rows alone, as if the sequence ended with them; sums to one."""
    K = tail.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    size = BLOCK * K * LANES
    tops, work, b = np.empty(BLOCK * LANES), np.empty(size), np.empty(size)
    beta, w = np.empty(K * LANES), np.empty(K * LANES)
    low, left = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for n in range(begin, end):
        longest = _group(n, first, count, tail, K, firsts, counts, laws)
        for i in range(K * LANES):
            beta[i] = 1.0
        for high in range(longest, 0, -BLOCK):
            at = max(high - BLOCK, 0)
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
            _likelihoods(L, top, which, low, left, False, b, tops, work, K, high - at)
            _back_alone(P, b, K, high - at, beta, w)
        for lane in range(LANES):
            for k in range(K if counts[lane] > 0 else 0):
                tail[n * LANES + lane, k] = w[k * LANES + lane]


@jit(fast=True)
def _back_alone(P, b, K, rows, beta, w):
    for back in range(rows):
        t = rows - 1 - back
        total = spread(0.0)
        for j in range(K):
            value = load(b, (t * K + j) * LANES) * load(beta, j * LANES)
            store(w, j * LANES, value)
            total = total + value
        scale = spread(1.0) / total
        for j in range(K):
            store(w, j * LANES, load(w, j * LANES) * scale)
        for i in range(K):
            total = load(w, 0) * spread(P[i * K])
            for j in range(1, K):
                total = add_product(total, load(w, j * LANES), spread(P[i * K + j]))
            store(beta, i * LANES, total)


@jit
def forward(P, L, top, which, first, count, law, sparse, keep, begin, end, steps, filtered, predicted, ends):
    """`smooth` without the way back: with `keep` the filtered and predicted probabilities too; no `steps` where that is empty."""
    K = law.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    size = BLOCK * K * LANES
    tops, work, spare, b = np.empty(BLOCK * LANES), np.empty(size), np.empty(size), np.empty(size)
    x, f, totals, before = np.empty(size), np.empty(size), np.empty(BLOCK * LANES), np.empty(K * LANES)
    low, left, lows = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(LANES)
    for n in range(begin, end):
        longest = _group(n, first, count, law, K, firsts, counts, laws)
        for at in range(0, longest, BLOCK):
            rows = min(BLOCK, longest - at)
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
            if not _likelihoods(L, top, which, low, left, sparse, b, tops, work, K, rows):
                return False
            _ahead(P, b, laws, at == 0, sparse, keep, K, rows, before, x, f, totals, lows)
            if not (_all_above(totals, rows * LANES, SMALL) and _all_above(lows, LANES, SMALL)):
                return False
            if steps.shape[0] > 0:
                _write_steps(tops, totals, low, left, rows, work, spare, steps)
            for lane in range(LANES):
                if 0 < left[lane] <= rows:
                    t = left[lane] - 1
                    for k in range(K):
                        ends[n * LANES + lane, k] = x[(t * K + k) * LANES + lane] / totals[t * LANES + lane]
            if keep:
                _scale(x, totals, K, rows)
                _write(x, low, left, K, rows, filtered)
                _write(f, low, left, K, rows, predicted)
    return True


@jit(fast=True)
def _scale(x, totals, K, rows):
    for t in range(rows):
        scale = spread(1.0) / load(totals, t * LANES)
        for k in range(K):
            store(x, (t * K + k) * LANES, load(x, (t * K + k) * LANES) * scale)
