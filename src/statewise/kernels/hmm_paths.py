"""State paths of hidden Markov models beyond the best one: the k best, and draws from their posterior law.

Letters as in `kernels.hmm`. List Viterbi: Seshadri & Sundberg, IEEE Trans. Commun. 42 (1994). Forward filtering, backward
sampling: Scott, JASA 97 (2002), §2.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit


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
    """The best `paths` (k, rows) of each sequence, best first, and their `log_prob` (k, N); −1 and −inf where there are fewer."""
    k, K = paths.shape[0], log_pi.shape[0]
    for n in range(offsets.shape[0] - 1):
        start, T = offsets[n], offsets[n + 1] - offsets[n]
        before, score = np.full((K, k), -np.inf), np.full((K, k), -np.inf)
        origin = np.full((T, K, k), -1, np.int64)
        for j in range(K):
            score[j, 0] = log_pi[j] + L[start, j]
        for t in range(1, T):
            before, score = score, before
            for j in range(K):
                score[j, :] = -np.inf
                for i in range(K):
                    step = log_P[i, j] + L[start + t, j]
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
    """Draw `paths` (count, rows) from the law of the states given the data: backwards, a[t] ∘ P[:, s[t + 1]] each time."""
    K = P.shape[0]
    weights = np.empty(K)
    for c in range(paths.shape[0]):
        for n in range(offsets.shape[0] - 1):
            for back in range(offsets[n + 1] - offsets[n]):
                t = offsets[n + 1] - 1 - back
                total = 0.0
                for i in range(K):
                    weights[i] = filtered[t, i] * (P[i, paths[c, t + 1]] if back > 0 else 1.0)
                    total += weights[i]
                target, state, reached = uniforms[c, t] * total, -1, 0.0
                for i in range(K):
                    if weights[i] > 0.0 and (state < 0 or reached <= target):
                        state = i
                        reached += weights[i]
                paths[c, t] = state
