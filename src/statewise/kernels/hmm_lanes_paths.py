"""Best paths of hidden Markov models over many stretches of rows side by side; lanes, groups and letters as in `kernels.hmm_lanes`.

best[t, j] = L[t, j] + max_i best[t − 1, i] + log P[i, j], less a number that is the same for all states of a row.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES, gather_four, if_number, larger, load, smaller, spread, store, where_larger
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
def _better(best, row, ahead, i, most, which):
    """The larger of `most` and the score of state i with the way ahead, and its state in `which`."""
    value = load(best, row + i * LANES) + ahead
    return larger(value, most), where_larger(value, most, spread(float(i)), which)


@jit
def _back(log_P_T, width, K, rows, best, at, states, whole, path, into):
    """A block of the way back: the state of each row that leads best to that of the row after it, the lowest of several.

    `at` (LANES,) is `width` times the state of the row after the block, or K in a lane whose last row is the block's; it is left so for
    the block before. `states` (rows LANES,); where `whole` they go into `path` too, each lane's from into[lane] on.
    """
    for back in range(rows):
        t = rows - 1 - back
        row, most, which = t * K * LANES, spread(-np.inf), spread(0.0)
        for i in range(0, K, 4):
            v0, v1, v2, v3 = gather_four(log_P_T, at, i)
            most, which = _better(best, row, v0, i, most, which)
            if i + 1 < K:
                most, which = _better(best, row, v1, i + 1, most, which)
            if i + 2 < K:
                most, which = _better(best, row, v2, i + 2, most, which)
            if i + 3 < K:
                most, which = _better(best, row, v3, i + 3, most, which)
        store(states, t * LANES, which)
        for lane in range(LANES):
            state = int(states[t * LANES + lane])
            at[lane] = width * state
            if whole:
                path[np.uint64(into[lane] + t)] = state


@jit
def viterbi(log_P, log_P_T, L, which, first, count, own, law, begin, end, room, path, ends, after):
    """The best `path` (rows,) through the `own` (N,) first rows of each stretch, as the `count` (N,) rows that it may look at show it.

    `log_P` (K²,); `log_P_T`, flat, is its transpose and a row of zeros, their columns made a multiple of four. `law` (N, K) is
    max_i best[i] + log P[i, j] of the row before a stretch. The scores of the last own row go into `ends` (N, K), the state of the row
    after it into `after` (N,), −1 where there is none. `room` has K `LANES` doubles for each row of the longest stretch. False where
    that cannot be done in lanes.
    """
    K = law.shape[1]
    width = log_P_T.shape[0] // (K + 1)
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
                    at[lane] = K * width
                elif counts[lane] < high:
                    start = max(start, counts[lane])
            whole = True
            for lane in range(LANES):
                whole = whole and counts[lane] > 0 and high <= own[n * LANES + lane]
                low[lane] = firsts[lane] + start
            _back(log_P_T, width, K, high - start, room[start * K * LANES :], at, states, whole, path, low)
            for lane in range(LANES):
                if counts[lane] > 0 and not whole:
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
