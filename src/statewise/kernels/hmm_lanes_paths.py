"""Best paths of hidden Markov models over many stretches of rows side by side; lanes, groups and letters as in `kernels.hmm_lanes`.

best[t, j] = L[t, j] + max_i best[t − 1, i] + log P[i, j], less a number that is the same for all states of a row.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES, gather, if_number, larger, load, smaller, spread, store, where_larger
from statewise.kernels.hmm_lanes import BLOCK
from statewise.kernels.hmm_lanes_rows import copy_rows, look_up, set_group


@jit
def _is_valid(b, K, rows):
    """Whether the log-likelihoods of a block are numbers below infinity."""
    least, most, one = spread(1.0), spread(-np.inf), spread(1.0)
    for at in range(0, rows * K * LANES, LANES):
        value = load(b, at)
        least = smaller(if_number(value, one), least)
        most = larger(value, most)
    lanes = np.empty(2 * LANES)
    store(lanes, 0, least)
    store(lanes, LANES, most)
    found = True
    for lane in range(LANES):
        found = found and lanes[lane] > 0.0 and lanes[LANES + lane] < np.inf
    return found


@jit
def _ahead(log_P, law, fresh, K, rows, best, before):
    """A block of the way forward: `best` has L and gets the scores, the largest of the first row being 0; `before` is the row before it."""
    for t in range(rows):
        top = spread(-np.inf)
        for j in range(0, K, 2):
            j1 = min(j + 1, K - 1)
            at0, at1, back = (t * K + j) * LANES, (t * K + j1) * LANES, (t - 1) * K * LANES
            if t > 0:
                value = load(best, back)
                c0, c1 = value + spread(log_P[j]), value + spread(log_P[j1])
                for i in range(1, K):
                    value = load(best, back + i * LANES)
                    c0 = larger(value + spread(log_P[i * K + j]), c0)
                    c1 = larger(value + spread(log_P[i * K + j1]), c1)
            elif fresh:
                c0, c1 = load(law, j * LANES), load(law, j1 * LANES)
            else:
                value = load(before, 0)
                c0, c1 = value + spread(log_P[j]), value + spread(log_P[j1])
                for i in range(1, K):
                    value = load(before, i * LANES)
                    c0 = larger(value + spread(log_P[i * K + j]), c0)
                    c1 = larger(value + spread(log_P[i * K + j1]), c1)
            c0, c1 = c0 + load(best, at0), c1 + load(best, at1)
            if j == j1:
                c1 = c0
            store(best, at0, c0)
            store(best, at1, c1)
            top = larger(c1, larger(c0, top))
        if t == 0:
            for at in range(0, K * LANES, LANES):
                store(best, at, load(best, at) - top)
    for at in range(0, K * LANES, LANES):
        store(before, at, load(best, (rows - 1) * K * LANES + at))


@jit
def _back(log_P_T, K, rows, best, at, states):
    """A block of the way back: the state of each row that leads best to that of the row after it, the lowest of several.

    `at` (LANES,) is K times the state of the row after the block, or K² in a lane whose last row is the block's; it is left so for the
    block before. `states` (rows LANES,).
    """
    for back in range(rows):
        t = rows - 1 - back
        most, which = load(best, t * K * LANES) + gather(log_P_T, at, 0), spread(0.0)
        for i in range(1, K):
            value = load(best, (t * K + i) * LANES) + gather(log_P_T, at, i)
            which = where_larger(value, most, spread(float(i)), which)
            most = larger(value, most)
        store(states, t * LANES, which)
        for lane in range(LANES):
            at[lane] = K * int(states[t * LANES + lane])


@jit
def viterbi(log_P, log_P_T, L, which, first, count, own, law, begin, end, room, path, ends, after):
    """The best `path` (rows,) through the `own` (N,) first rows of each stretch, as the `count` (N,) rows that it may look at show it.

    `log_P` (K²,); `log_P_T` (K + 1, K), flat, is its transpose and zeros. `law` (N, K) is max_i best[i] + log P[i, j] of the row before a
    stretch. The scores of the last own row go into `ends` (N, K), the state of the row after it into `after` (N,), −1 where there is
    none. `room` has K `LANES` doubles for each row of the longest stretch. False where that cannot be done in lanes.
    """
    K = law.shape[1]
    firsts, counts, laws = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(K * LANES)
    low, left, at = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    before, states = np.empty(K * LANES), np.empty(BLOCK * LANES)
    for n in range(begin, end):
        longest = set_group(n, first, count, law, K, firsts, counts, laws)
        for start in range(0, longest, BLOCK):
            rows, best = min(BLOCK, longest - start), room[start * K * LANES :]
            for lane in range(LANES):
                low[lane], left[lane] = firsts[lane] + start, counts[lane] - start
            if which.shape[0] > 0:
                look_up(L, which, low, left, best, states, K, rows, at)
            else:
                copy_rows(L, low, left, best, K, rows, at)
            if not _is_valid(best, K, rows):
                return False
            _ahead(log_P, laws, start == 0, K, rows, best, before)
            if not _is_possible(before, K):
                return False
        high = longest
        at[:] = 0
        while high > 0:
            start = max(high - BLOCK, 0)
            for lane in range(LANES):
                if counts[lane] == high:
                    at[lane] = K * K
                elif counts[lane] < high:
                    start = max(start, counts[lane])
            _back(log_P_T, K, high - start, room[start * K * LANES :], at, states)
            for lane in range(LANES):
                if counts[lane] > 0:
                    _write(states, lane, n * LANES + lane, start, high, first, own, path, after)
            high = start
        for lane in range(LANES):
            if counts[lane] > 0:
                for k in range(K):
                    ends[n * LANES + lane, k] = room[((own[n * LANES + lane] - 1) * K + k) * LANES + lane]
    return True


@jit
def _is_possible(scores, K):
    """Whether every lane has a state that is possible, and nothing that is no number."""
    found = True
    for lane in range(LANES):
        top = -np.inf
        for k in range(K):
            top = max(top, scores[k * LANES + lane])
        found = found and -np.inf < top < np.inf
    return found


@jit
def _write(states, lane, n, start, high, first, own, path, after):
    """The rows `start` to `high` of a lane: its own into `path`, the row after those into `after`."""
    mine = min(own[n], high)
    into, source = path[first[n] + start : first[n] + max(mine, start)], states[lane:]
    for t in range(mine - start):
        into[t] = int(source[t * LANES])
    if start <= own[n] < high:
        after[n] = int(source[(own[n] - start) * LANES])


@jit
def _step(log_P, L, i, j, row, K):
    return log_P[i * K + j] + L[row * K + j]


@jit
def path_log_prob(log_pi, log_P, L, which, path, offsets, log_prob):
    """log π + Σ log P + Σ L along the path of each sequence.

    Numbers of states and rows are unsigned, which spares a look at the sign of each; and there are four sums, since an addition waits
    for the one before it.
    """
    K, indexed = np.uint64(log_pi.shape[0]), which.shape[0] > 0
    flat, table = log_P.reshape(log_P.size), L.reshape(L.size)
    states, numbers = path.view(np.uint64), which.view(np.uint64)
    for n in range(offsets.shape[0] - 1):
        first, rows = offsets[n], offsets[n + 1] - offsets[n]
        own = states[first : first + rows]
        own_rows = numbers[first : first + rows] if indexed else numbers
        i, s0, s1, s2, s3 = own[0], 0.0, 0.0, 0.0, 0.0
        total = log_pi[i] + table[(own_rows[0] if indexed else np.uint64(first)) * K + i]
        begin = 1 + (rows - 1) % 4
        for t in range(1, begin):
            total += _step(flat, table, i, own[t], own_rows[t] if indexed else np.uint64(first + t), K)
            i = own[t]
        for t in range(begin, rows, 4):
            k0, k1, k2, k3 = own[t], own[t + 1], own[t + 2], own[t + 3]
            s0 += _step(flat, table, i, k0, own_rows[t] if indexed else np.uint64(first + t), K)
            s1 += _step(flat, table, k0, k1, own_rows[t + 1] if indexed else np.uint64(first + t + 1), K)
            s2 += _step(flat, table, k1, k2, own_rows[t + 2] if indexed else np.uint64(first + t + 2), K)
            s3 += _step(flat, table, k2, k3, own_rows[t + 3] if indexed else np.uint64(first + t + 3), K)
            i = k3
        log_prob[n] = total + ((s0 + s1) + (s2 + s3))
