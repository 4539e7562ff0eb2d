"""Hidden Markov recursions over many stretches of rows side by side, one in each lane of a vector.

One row waits for the row before it; `LANES` stretches that know nothing of each other do not wait. A stretch is a sequence, or a
part of a long one: rows first[n] to first[n] + count[n]. `LANES` of them in turn make a group, longest first; a kernel does the
groups `begin` to `end`. Row t, state k of a group is the vector at (t K + k) LANES of a flat array.

Letters as in `kernels.hmm`; P (K²,) is flat. The backward pass carries w[t] = b[t] ∘ β[t] / total[t], of which β[t − 1] = P w[t],
g[t] = a[t] ∘ β[t], and the expected transitions are a[t, i] P[i, j] w[t + 1, j]: no division by a probability. β is scaled so that
g sums to one, anew in every block.

L (rows, K) has log-likelihoods. Or rows are alike: then `which` (rows,) is not empty, and row r is number which[r] of the distinct ones,
L (m, W): K likelihoods over their largest, the logarithm of that, and what makes W a multiple of four. The last of them is ones.

What a lane can't do (a likelihood that is NaN or nowhere possible, a state that doubles lose and that could matter later) it does not
try: the functions return False and the sequences go to `kernels.hmm`.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._elementary import exp_in_place, log_in_place
from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES, add_product, larger, load, spread, store
from statewise.kernels.hmm import SMALL
from statewise.kernels.hmm_lanes_rows import all_have, copy_rows, look_up, set_group, write_rows

BLOCK = 64  # rows that are looked up, done and written back together
TOGETHER = 8  # rows whose sums have one logarithm
AT_ONCE = 1024  # exponentials that are taken together, in the nearest cache
MOST_LOST = 1e280  # units of 1e-300: a share of 1e-20 of all mass


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
def _likelihoods(L, which, low, count, b, tops, work, K, rows):
    """b = exp(L − top) for `rows` rows of a group."""
    at = np.empty(LANES, np.int64)
    if which.shape[0] > 0:
        look_up(L, which, low, count, b, tops, K, rows, at)
        return
    copy_rows(L, low, count, b, K, rows, at)
    _take_top(b, tops, K, rows)
    size = rows * K * LANES
    for begin in range(0, size, AT_ONCE):
        part = b[begin : min(begin + AT_ONCE, size)]
        exp_in_place(part, work[: part.shape[0]])


@jit(fast=True)
def _ahead(P, b, law, fresh, keep, K, rows, before, x, f, scales):
    """A block of the forward pass: x = f ∘ b with f = Pᵀ x[t − 1] scale[t − 1], scale = 1 / Σ x.

    `before` (K LANES,) is the last row's x times its scale, and is left so for the next block; where `fresh`, f[0] = `law`. Two
    states at a time, so that each x is loaded half as often; the last of an odd number is done twice.
    """
    one = spread(1.0)
    scale = one
    for t in range(rows):
        total = spread(0.0)
        back = (t - 1) * K * LANES
        for j in range(0, K, 2):
            j1 = min(j + 1, K - 1)
            if t > 0:
                value = load(x, back)
                c0, c1 = value * spread(P[j]), value * spread(P[j1])
                for i in range(1, K):
                    value = load(x, back + i * LANES)
                    c0 = add_product(c0, value, spread(P[i * K + j]))
                    c1 = add_product(c1, value, spread(P[i * K + j1]))
                c0, c1 = c0 * scale, c1 * scale
            elif fresh:
                c0, c1 = load(law, j * LANES), load(law, j1 * LANES)
            else:
                value = load(before, 0)
                c0, c1 = value * spread(P[j]), value * spread(P[j1])
                for i in range(1, K):
                    value = load(before, i * LANES)
                    c0 = add_product(c0, value, spread(P[i * K + j]))
                    c1 = add_product(c1, value, spread(P[i * K + j1]))
            at0, at1 = (t * K + j) * LANES, (t * K + j1) * LANES
            b0, b1 = load(b, at0), load(b, at1)
            x0, x1 = c0 * b0, c1 * b1
            store(x, at0, x0)
            store(x, at1, x1)
            total = total + x0
            if j < j1:
                total = total + x1
            if keep:
                store(f, at0, c0)
                store(f, at1, c1)
        scale = one / total
        store(scales, t * LANES, scale)
    for k in range(K):
        store(before, k * LANES, load(x, ((rows - 1) * K + k) * LANES) * scale)


@jit(fast=True)
def _lose(P, b, scales, K, rows, lost, room, most):
    """What doubles may have lost of each state: `lost` ← scale (b ∘ Pᵀ lost + 1) along a block; the largest sum into `most`.

    In units of 1e-300: an underflow takes less from a state before the row is scaled, and it is carried on as the state itself
    would be. What is lost is no more than this share of all mass, and of all paths: what is computed from the rest has that error.
    """
    one, top = spread(1.0), load(most, 0)
    for t in range(rows):
        scale, total = load(scales, t * LANES), spread(0.0)
        for j in range(K):
            value = load(lost, 0) * spread(P[j])
            for i in range(1, K):
                value = add_product(value, load(lost, i * LANES), spread(P[i * K + j]))
            value = add_product(one, value, load(b, (t * K + j) * LANES)) * scale
            store(room, j * LANES, value)
            total = total + value
        for at in range(0, K * LANES, LANES):
            store(lost, at, load(room, at))
        top = larger(total, top)
    store(most, 0, top)


@jit
def _all_fine(P, b, scales, sparse, K, rows, lost, work, most):
    """Whether no sum has become too small for its digits and, in a chain with zeros, nothing that matters can have been lost."""
    found = True
    for i in range(rows * LANES):
        found = found and scales[i] < 1.0 / SMALL
    if found and sparse:
        _lose(P, b, scales, K, rows, lost, work, most)
        for lane in range(LANES):
            found = found and most[lane] < MOST_LOST
    return found


@jit
def _write_steps(tops, scales, low, count, rows, work, spare, steps):
    size = rows * LANES
    work[:size] = scales[:size]
    log_in_place(work[:size], spare[:size])
    for i in range(size):
        work[i] = tops[i] - work[i]
    write_rows(work, low, count, 1, rows, steps.reshape(steps.shape[0], 1))


@jit
def _add_steps(tops, scales, count, rows, work, spare, total):
    """Add the log-likelihoods of a block's rows to `total` (LANES,); False where a product of `TOGETHER` scales is too large."""
    if not all_have(count, rows):
        for lane in range(LANES):
            for t in range(max(count[lane], 0), rows):
                tops[t * LANES + lane], scales[t * LANES + lane] = 0.0, 1.0
    size = _multiply(tops, scales, rows, work, total)
    found = True
    for i in range(size):
        found = found and work[i] < 1.0 / SMALL
    log_in_place(work[:size], spare[:size])
    for at in range(0, size, LANES):
        store(total, 0, load(total, 0) - load(work, at))
    return found


@jit
def _multiply(tops, scales, rows, work, total):
    """`TOGETHER` scales at a time into `work`, the tops added to `total`; returns how many numbers that made."""
    top, size = load(total, 0), 0
    for begin in range(0, rows, TOGETHER):
        product = load(scales, begin * LANES)
        for t in range(begin, min(begin + TOGETHER, rows)):
            top = top + load(tops, t * LANES)
            if t > begin:
                product = product * load(scales, t * LANES)
        store(work, size, product)
        size += LANES
    store(total, 0, top)
    return size


@jit
def _forward_group(
    P, L, which, firsts, counts, laws, longest, sparse, b, x, scales, tops, work, spare, before, total, lost, most
):
    """The forward pass over one group, b, x and scales being kept for the way back; False where lanes cannot do it."""
    K = before.shape[0] // LANES
    low, left = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    total[:], lost[:], most[:] = 0.0, 1.0, 1.0
    for at in range(0, longest, BLOCK):
        rows = min(BLOCK, longest - at)
        for lane in range(LANES):
            low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
        b_t, x_t, scales_t = b[at * K * LANES :], x[at * K * LANES :], scales[at * LANES :]
        _likelihoods(L, which, low, left, b_t, tops, work, K, rows)
        _ahead(P, b_t, laws, at == 0, False, K, rows, before, x_t, x_t, scales_t)
        if not _all_fine(P, b_t, scales_t, sparse, K, rows, lost, work, most):
            return False
        if not _add_steps(tops, scales_t, left, rows, work, spare, total):
            return False
    return True


@jit(fast=True)
def _back(P, b, x, scales, K, rows, beta, carry, a, w, g):
    """A block of the backward pass: a and w of its rows, and g, the smoothed probabilities; row `rows` of w is `carry`, at last row 0."""
    tiny = spread(1e-300)
    for back in range(rows):
        t = rows - 1 - back
        at, scale = t * K * LANES, load(scales, t * LANES)
        if back == 0:
            total = spread(0.0)
            for i in range(0, K * LANES, LANES):
                total = add_product(total, load(x, at + i), load(beta, i))
            fit = spread(1.0) / larger(total * scale, tiny)
            for i in range(0, K * LANES, LANES):
                store(beta, i, load(beta, i) * fit)
                store(w, rows * K * LANES + i, load(carry, i) * fit)
        for i in range(0, K * LANES, LANES):
            value, weight = load(x, at + i) * scale, load(beta, i)
            store(a, at + i, value)
            store(g, at + i, value * weight)
            store(w, at + i, load(b, at + i) * (weight * scale))
        for i in range(0, K, 2):
            i1 = min(i + 1, K - 1)
            value = load(w, at)
            c0, c1 = value * spread(P[i * K]), value * spread(P[i1 * K])
            for j in range(1, K):
                value = load(w, at + j * LANES)
                c0 = add_product(c0, value, spread(P[i * K + j]))
                c1 = add_product(c1, value, spread(P[i1 * K + j]))
            store(beta, i * LANES, c0)
            store(beta, i1 * LANES, c1)
    for i in range(0, K * LANES, LANES):
        store(carry, i, load(w, i))


@jit(fast=True)
def _pair(a, w, K, rows, pairs):
    """Add Σ a[t, i] w[t + 1, j] over the rows of a block to `pairs` (K² LANES,), two states by two at a time."""
    step = K * LANES
    for i in range(0, K, 2):
        i1 = min(i + 1, K - 1)
        for j in range(0, K, 2):
            j1 = min(j + 1, K - 1)
            p00, p01 = (i * K + j) * LANES, (i * K + j1) * LANES
            p10, p11 = (i1 * K + j) * LANES, (i1 * K + j1) * LANES
            c00, c01, c10, c11 = load(pairs, p00), load(pairs, p01), load(pairs, p10), load(pairs, p11)
            for at in range(0, rows * step, step):
                a0, a1 = load(a, at + i * LANES), load(a, at + i1 * LANES)
                w0, w1 = load(w, at + step + j * LANES), load(w, at + step + j1 * LANES)
                c00, c01 = add_product(c00, a0, w0), add_product(c01, a0, w1)
                c10, c11 = add_product(c10, a1, w0), add_product(c11, a1, w1)
            store(pairs, p00, c00)
            store(pairs, p01, c01)
            store(pairs, p10, c10)
            store(pairs, p11, c11)


@jit
def smooth(
    P, L, which, first, count, law, tail, final, sparse, begin, end, room, losses, sums, smoothed, pairs, ends, heads
):
    """Log-likelihoods of the stretches into `sums` (N,), smoothed probabilities of the rows; Σ a[t, i] w[t + 1, j] added to `pairs` (K, K).

    `law` (N, K) is the predicted law of each stretch's first row, `tail` (N, K) w of the row after its last, in any scale; a stretch
    that is `final` (N,) has none. The filtered law of its last row goes into `ends` (N, K), w of its first into `heads`; into `losses`
    (N,) what may have been lost (see `_lose`). `room` has (2 K + 1) `LANES` doubles for each row of the longest stretch.
    """
    K = law.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    size = BLOCK * K * LANES
    tops, work, spare, before = np.empty(BLOCK * LANES), np.empty(size), np.empty(size), np.empty(K * LANES)
    beta, carry, w, lanes = (
        np.empty(K * LANES),
        np.empty(K * LANES),
        np.empty(size + K * LANES),
        np.zeros(K * K * LANES),
    )
    low, left, total = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(LANES)
    lost, most = np.empty(K * LANES), np.empty(LANES)
    for n in range(begin, end):
        longest = set_group(n, first, count, law, K, firsts, counts, laws)
        b, x = room[: longest * K * LANES], room[longest * K * LANES : 2 * longest * K * LANES]
        scales = room[2 * longest * K * LANES :]
        if not _forward_group(
            P,
            L,
            which,
            firsts,
            counts,
            laws,
            longest,
            sparse,
            b,
            x,
            scales,
            tops,
            work,
            spare,
            before,
            total,
            lost,
            most,
        ):
            return False
        _end_sums(total, n, counts, sums)
        _end_sums(most, n, counts, losses)
        _end_lanes(x, scales, K, n, longest, counts, ends)
        high = longest
        beta[:], carry[:] = 0.0, 0.0
        while high > 0:
            at = max(high - BLOCK, 0)
            for lane in range(LANES):
                if counts[lane] == high:
                    _turn(P, tail, final, n * LANES + lane, lane, K, beta, carry)
                elif counts[lane] < high:
                    at = max(at, counts[lane])
            rows, start = high - at, at * K * LANES
            _back(P, b[start:], x[start:], scales[at * LANES :], K, rows, beta, carry, spare, w, work)
            _pair(spare, w, K, rows, lanes)
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
            write_rows(work, low, left, K, rows, smoothed)
            high = at
        for lane in range(LANES):
            if counts[lane] > 0:
                for k in range(K):
                    heads[n * LANES + lane, k] = carry[k * LANES + lane]
    for i in range(K * K):
        for lane in range(LANES):
            pairs[i // K, i % K] += lanes[i * LANES + lane]
    return True


@jit
def _end_sums(total, n, counts, sums):
    for lane in range(LANES):
        if counts[lane] > 0:
            sums[n * LANES + lane] = total[lane]


@jit
def _end_lanes(x, scales, K, n, longest, counts, ends):
    """The filtered law of each lane's last row; beyond it the lane adds nothing to what is summed."""
    for lane in range(LANES):
        if counts[lane] > 0:
            t = counts[lane] - 1
            for k in range(K):
                ends[n * LANES + lane, k] = x[(t * K + k) * LANES + lane] * scales[t * LANES + lane]
        for at in range(counts[lane] * K, longest * K):
            x[at * LANES + lane] = 0.0


@jit
def _turn(P, tail, final, n, lane, K, beta, carry):
    """β of the last row of stretch n, and w of the row after it: ones and nothing where the sequence ends there."""
    for i in range(K):
        value = 1.0 if final[n] else 0.0
        for j in range(K):
            value += 0.0 if final[n] else P[i * K + j] * tail[n, j]
        beta[i * LANES + lane] = value
        carry[i * LANES + lane] = 0.0 if final[n] else tail[n, i]


@jit
def guess_tails(P, L, which, first, count, begin, end, tail):
    """`tail` (N, K): w of each stretch's first row from its rows alone, as if the sequence ended with them; sums to one."""
    K = tail.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    size = BLOCK * K * LANES
    tops, work, b = np.empty(BLOCK * LANES), np.empty(size), np.empty(size)
    beta, w = np.empty(K * LANES), np.empty(K * LANES)
    low, left = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for n in range(begin, end):
        longest = set_group(n, first, count, tail, K, firsts, counts, laws)
        for i in range(K * LANES):
            beta[i] = 1.0
        for high in range(longest, 0, -BLOCK):
            at = max(high - BLOCK, 0)
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
            _likelihoods(L, which, low, left, b, tops, work, K, high - at)
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
def forward(P, L, which, first, count, law, sparse, keep, begin, end, losses, sums, steps, filtered, predicted, ends):
    """`smooth` without the way back, with `keep` the filtered and predicted probabilities; log-likelihoods of the rows into `steps`.

    `steps` and `sums` may be empty; one logarithm for every `TOGETHER` rows is enough for `sums`.
    """
    K = law.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    size = BLOCK * K * LANES
    tops, work, spare, b = np.empty(BLOCK * LANES), np.empty(size), np.empty(size), np.empty(size)
    x, f, scales, before = np.empty(size), np.empty(size), np.empty(BLOCK * LANES), np.empty(K * LANES)
    low, left, total = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(LANES)
    lost, most = np.empty(K * LANES), np.empty(LANES)
    for n in range(begin, end):
        longest = set_group(n, first, count, law, K, firsts, counts, laws)
        total[:], lost[:], most[:] = 0.0, 1.0, 1.0
        for at in range(0, longest, BLOCK):
            rows = min(BLOCK, longest - at)
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + at, counts[lane] - at
            _likelihoods(L, which, low, left, b, tops, work, K, rows)
            _ahead(P, b, laws, at == 0, keep, K, rows, before, x, f, scales)
            if not _all_fine(P, b, scales, sparse, K, rows, lost, work, most):
                return False
            if steps.shape[0] > 0:
                _write_steps(tops, scales, low, left, rows, work, spare, steps)
            if sums.shape[0] > 0 and not _add_steps(tops, scales, left, rows, work, spare, total):
                return False
            for lane in range(LANES):
                if 0 < left[lane] <= rows:
                    t = left[lane] - 1
                    for k in range(K):
                        ends[n * LANES + lane, k] = x[(t * K + k) * LANES + lane] * scales[t * LANES + lane]
            if keep:
                _scale(x, scales, K, rows)
                write_rows(x, low, left, K, rows, filtered)
                write_rows(f, low, left, K, rows, predicted)
        if sums.shape[0] > 0:
            _end_sums(total, n, counts, sums)
        _end_sums(most, n, counts, losses)
    return True


@jit(fast=True)
def _scale(x, scales, K, rows):
    for t in range(rows):
        scale = load(scales, t * LANES)
        for k in range(K):
            store(x, (t * K + k) * LANES, load(x, (t * K + k) * LANES) * scale)
