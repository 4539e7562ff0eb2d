"""State paths of hidden Markov models: the best one (Viterbi), the k best, draws from the chain and from the posterior law.

Letters as in `kernels.hmm`. Viterbi: Rabiner, Proc. IEEE 77 (1989). List Viterbi: Seshadri & Sundberg, IEEE Trans. Commun. 42
(1994). Forward filtering, backward sampling: Scott, JASA 97 (2002), §2.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.hmm import IMPOSSIBLE, INVALID, LOG_SPACE, WIDTH


@jit
def _ahead_narrow(log_P, L, best):
    """best[t, j] = L[t, j] + max_i best[t − 1, i] + log P[i, j] for K ≤ 8, from best[0] = log π on; returns the code.

    log_P has 8 columns. Eight numbers with names, since those stay in registers.
    """
    T, K = L.shape
    code, s = LOG_SPACE, np.full(WIDTH, -np.inf)
    for t in range(T):
        if t > 0:
            c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = -np.inf
            for i in range(K):
                w = best[t - 1, i]
                v0, v1, v2, v3 = w + log_P[i, 0], w + log_P[i, 1], w + log_P[i, 2], w + log_P[i, 3]
                v4, v5, v6, v7 = w + log_P[i, 4], w + log_P[i, 5], w + log_P[i, 6], w + log_P[i, 7]
                c0 = v0 if v0 > c0 else c0
                c1 = v1 if v1 > c1 else c1
                c2 = v2 if v2 > c2 else c2
                c3 = v3 if v3 > c3 else c3
                c4 = v4 if v4 > c4 else c4
                c5 = v5 if v5 > c5 else c5
                c6 = v6 if v6 > c6 else c6
                c7 = v7 if v7 > c7 else c7
            s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7] = c0, c1, c2, c3, c4, c5, c6, c7
        else:
            for k in range(K):
                s[k] = best[0, k]
        top, valid = -np.inf, True
        for k in range(K):
            valid = valid and L[t, k] < np.inf
            value = s[k] + L[t, k]
            best[t, k] = value
            top = value if value > top else top
        if not valid:
            return INVALID
        if top == -np.inf:
            code = IMPOSSIBLE
            for k in range(K):
                best[t, k] = s[k]
    return code


@jit
def _ahead_wide(log_P, L, best):
    """`_ahead_narrow` for any K, four rows of log P at a time."""
    T, K = L.shape
    code, whole = LOG_SPACE, K - K % 4
    for t in range(T):
        if t > 0:
            for j in range(K):
                best[t, j] = -np.inf
            for i in range(0, whole, 4):
                w0, w1, w2, w3 = best[t - 1, i], best[t - 1, i + 1], best[t - 1, i + 2], best[t - 1, i + 3]
                for j in range(K):
                    v0, v1, v2, v3 = w0 + log_P[i, j], w1 + log_P[i + 1, j], w2 + log_P[i + 2, j], w3 + log_P[i + 3, j]
                    v0 = v1 if v1 > v0 else v0
                    v2 = v3 if v3 > v2 else v2
                    v0 = v2 if v2 > v0 else v0
                    best[t, j] = v0 if v0 > best[t, j] else best[t, j]
            for i in range(whole, K):
                w0 = best[t - 1, i]
                for j in range(K):
                    v0 = w0 + log_P[i, j]
                    best[t, j] = v0 if v0 > best[t, j] else best[t, j]
        top, valid = -np.inf, True
        for k in range(K):
            valid = valid and L[t, k] < np.inf
            value = best[t, k] + L[t, k]
            top = value if value > top else top
        if not valid:
            return INVALID
        if top == -np.inf:
            code = IMPOSSIBLE
        else:
            for k in range(K):
                best[t, k] += L[t, k]
    return code


@jit
def _back(log_P_T, best, path):
    """The path that leads to the best end: each time the state i with the largest best[t, i] + log P[i, next], the lowest of several."""
    T, K = best.shape
    path[T - 1] = np.argmax(best[T - 1])
    for back in range(T - 1):
        t = T - 2 - back
        after, at, top = path[t + 1], 0, -np.inf
        for i in range(K):
            value = best[t, i] + log_P_T[after, i]
            at = i if value > top else at
            top = value if value > top else top
        path[t] = at


@jit
def _step(log_P, L, i, j, row, K):
    return log_P[i * K + j] + L[row * K + j]


@jit
def path_log_prob(log_pi, log_P, L, which, path, first, rows):
    """log π + Σ log P + Σ L along the path of one sequence; row r of L is number which[r] of it, unless `which` is empty.

    Numbers of states and rows are unsigned, which spares a look at the sign of each. There are four sums, since an addition waits for
    the one before it; smaller, they lose fewer digits too.
    """
    K, indexed = np.uint64(log_pi.shape[0]), which.shape[0] > 0
    flat, table = log_P.reshape(log_P.size), L.reshape(L.size)
    own = path.view(np.uint64)[first : first + rows]
    numbers = which.view(np.uint64)[first : first + rows] if indexed else which.view(np.uint64)
    i, s0, s1, s2, s3 = own[0], 0.0, 0.0, 0.0, 0.0
    total = log_pi[i] + table[(numbers[0] if indexed else np.uint64(first)) * K + i]
    begin = 1 + (rows - 1) % 4
    for t in range(1, begin):
        total += _step(flat, table, i, own[t], numbers[t] if indexed else np.uint64(first + t), K)
        i = own[t]
    for t in range(begin, rows, 4):
        k0, k1, k2, k3 = own[t], own[t + 1], own[t + 2], own[t + 3]
        s0 += _step(flat, table, i, k0, numbers[t] if indexed else np.uint64(first + t), K)
        s1 += _step(flat, table, k0, k1, numbers[t + 1] if indexed else np.uint64(first + t + 1), K)
        s2 += _step(flat, table, k1, k2, numbers[t + 2] if indexed else np.uint64(first + t + 2), K)
        s3 += _step(flat, table, k2, k3, numbers[t + 3] if indexed else np.uint64(first + t + 3), K)
        i = k3
    return total + ((s0 + s1) + (s2 + s3))


@jit
def path_log_probs(log_pi, log_P, L, which, path, offsets, log_prob):
    """`path_log_prob` of every sequence."""
    for n in range(offsets.shape[0] - 1):
        log_prob[n] = path_log_prob(log_pi, log_P, L, which, path, offsets[n], offsets[n + 1] - offsets[n])


@jit
def viterbi(log_pi, log_P, L, offsets, first, last, path, log_prob, codes):
    """Most probable `path` (rows,), ties to the lower state, and its `log_prob` (N,) joint with the observations."""
    K = log_pi.shape[0]
    log_P_T = log_P.T.copy()
    wide = np.full((K, max(K, WIDTH)), -np.inf)
    wide[:, :K] = log_P
    every = np.empty(0, np.int64)
    for n in range(first, last):
        start, stop = offsets[n], offsets[n + 1]
        best = np.empty((stop - start, K))
        best[0] = log_pi
        ahead = _ahead_narrow(wide, L[start:stop], best) if K <= WIDTH else _ahead_wide(log_P, L[start:stop], best)
        codes[n] = ahead
        log_prob[n] = -np.inf
        if ahead != INVALID:
            _back(log_P_T, best, path[start:stop])
            if ahead != IMPOSSIBLE:
                log_prob[n] = path_log_prob(log_pi, log_P, L, every, path, start, stop - start)


@jit
def _keep(score, from_, value, origin):
    """Insert `value` in the descending list `score`, and `origin` beside it; equal values stay in the order they came in."""
    last = score.shape[0] - 1
    if not value > score[last]:
        return
    at = last
    while at > 0 and value > score[at - 1]:
        score[at] = score[at - 1]
        from_[at] = from_[at - 1]
        at -= 1
    score[at] = value
    from_[at] = origin


@jit
def best_paths(log_pi, log_P, L, offsets, paths, log_prob):
    """The best `paths` (k, rows) of each sequence, best first, and their `log_prob` (k, N); −1 and −inf where there are fewer.

    log_P (1, K, K) for all rows, or (rows, K, K) from each row to the next.
    """
    k, K = paths.shape[0], log_pi.shape[0]
    for n in range(offsets.shape[0] - 1):
        start, T = offsets[n], offsets[n + 1] - offsets[n]
        before, score = np.full((K, k), -np.inf), np.full((K, k), -np.inf)
        origin = np.full((T, K, k), -1, np.int64)
        for j in range(K):
            score[j, 0] = log_pi[j] + L[start, j]
        for t in range(1, T):
            before, score = score, before
            step_P = log_P[(start + t - 1) % log_P.shape[0]]
            for j in range(K):
                score[j, :] = -np.inf
                for i in range(K):
                    step = step_P[i, j] + L[start + t, j]
                    for r in range(k):
                        _keep(score[j], origin[t, j], before[i, r] + step, i * k + r)
        ends, last = np.full(k, -np.inf), np.full(k, -1, np.int64)
        for j in range(K):
            for r in range(k):
                _keep(ends, last, score[j, r], j * k + r)
        for rank in range(k):
            log_prob[rank, n] = ends[rank]
            at = last[rank]
            for back in range(T):
                t = T - 1 - back
                paths[rank, start + t] = at // k if at >= 0 else -1
                at = origin[t, at // k, at % k] if at >= 0 else -1


@jit
def posterior_paths(P, filtered, offsets, uniforms, paths):
    """Draw `paths` (count, rows) from the law of the states given the data: backwards, a[t] ∘ P[:, s[t + 1]] each time.

    P (1, K, K) for all rows, or (rows, K, K) from each row to the next.
    """
    K = P.shape[1]
    weights = np.empty(K)
    for c in range(paths.shape[0]):
        for n in range(offsets.shape[0] - 1):
            for back in range(offsets[n + 1] - offsets[n]):
                t = offsets[n + 1] - 1 - back
                total, step_P = 0.0, P[t % P.shape[0]]
                for i in range(K):
                    weights[i] = filtered[t, i] * (step_P[i, paths[c, t + 1]] if back > 0 else 1.0)
                    total += weights[i]
                target, state, reached = uniforms[c, t] * total, -1, 0.0
                for i in range(K):
                    if weights[i] > 0.0 and (state < 0 or reached <= target):
                        state = i
                        reached += weights[i]
                paths[c, t] = state


@jit
def sample_paths(cumulative_pi, cumulative_P, uniforms, path):
    """Paths (count, length) of the chain from uniform numbers of the same shape and cumulative laws that end in 1.

    cumulative_P (m, K, K): one for all steps, one a step, or one a step of each path.
    """
    length = path.shape[1]
    for n in range(path.shape[0]):
        law = cumulative_pi
        for t in range(length):
            state = 0
            while uniforms[n, t] >= law[state]:
                state += 1
            path[n, t] = state
            law = cumulative_P[(n * length + t) % cumulative_P.shape[0], state]
