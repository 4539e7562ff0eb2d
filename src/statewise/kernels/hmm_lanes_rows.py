"""Rows of stretches into the lanes of a vector and back; lanes, groups and letters as in `kernels.hmm_lanes`."""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels._vector import LANES, gather, gather_four, load, scatter, scatter_four, store


@jit
def all_have(count, rows):
    found = True
    for lane in range(LANES):
        found = found and count[lane] >= rows
    return found


@jit
def set_group(n, first, count, law, K, firsts, counts, laws):
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
def copy_rows(L, low, count, b, K, rows, at):
    """The rows from `low` on of each lane of a group into b; zeros where a lane has none. `at` (LANES,) is room to work in."""
    if all_have(count, rows):
        flat, size = L.reshape(L.shape[0] * K), rows * K
        for lane in range(LANES):
            at[lane] = low[lane] * K
        whole = size - size % 4
        for s in range(0, whole, 4):
            v0, v1, v2, v3 = gather_four(flat, at, s)
            store(b, s * LANES, v0)
            store(b, (s + 1) * LANES, v1)
            store(b, (s + 2) * LANES, v2)
            store(b, (s + 3) * LANES, v3)
        for s in range(whole, size):
            store(b, s * LANES, gather(flat, at, s))
        return
    for lane in range(LANES):
        into, have = b[lane:], min(max(count[lane], 0), rows)
        source = L[low[lane] : low[lane] + have].reshape(have * K)
        for s in range(have * K):
            into[s * LANES] = source[s]
        for s in range(have * K, rows * K):
            into[s * LANES] = 0.0


@jit
def look_up(L, which, low, count, b, tops, K, rows, at):
    """The rows from `low` on of each lane of a group, by their numbers among distinct ones; the last of these where a lane has none."""
    flat, width, last, whole = L.reshape(L.shape[0] * L.shape[1]), L.shape[1], L.shape[0] - 1, all_have(count, rows)
    for t in range(rows):
        for lane in range(LANES):
            at[lane] = width * (which[np.uint64(low[lane] + t)] if whole or t < count[lane] else last)
        for k in range(0, width, 4):
            v0, v1, v2, v3 = gather_four(flat, at, k)
            left, into = K - k, (t * K + k) * LANES
            if left > 3:
                store(b, into + 3 * LANES, v3)
            elif left == 3:
                store(tops, t * LANES, v3)
            if left > 2:
                store(b, into + 2 * LANES, v2)
            elif left == 2:
                store(tops, t * LANES, v2)
            if left > 1:
                store(b, into + LANES, v1)
            elif left == 1:
                store(tops, t * LANES, v1)
            store(b if left > 0 else tops, into if left > 0 else t * LANES, v0)


@jit
def write_rows(x, low, count, K, rows, table):
    """The rows of a block into their places in `table` (rows, K)."""
    if all_have(count, rows):
        flat, at = table.reshape(table.shape[0] * K), np.empty(LANES, np.int64)
        for lane in range(LANES):
            at[lane] = low[lane] * K
        size = rows * K
        whole = size - size % 4
        for s in range(0, whole, 4):
            v0, v1 = load(x, s * LANES), load(x, (s + 1) * LANES)
            v2, v3 = load(x, (s + 2) * LANES), load(x, (s + 3) * LANES)
            scatter_four(flat, at, s, v0, v1, v2, v3)
        for s in range(whole, size):
            scatter(flat, at, s, load(x, s * LANES))
        return
    for lane in range(LANES):
        have = min(max(count[lane], 0), rows)
        source, into = x[lane:], table[low[lane] : low[lane] + have].reshape(have * K)
        for s in range(have * K):
            into[s] = source[s * LANES]
