"""Hidden Markov recursions with transitions that change from row to row.

Letters as in `kernels.hmm`, but log_P (rows, K, K): log_P[t, i, j] is the log probability of state j at row t + 1 given state i
at row t. What stands at the last row of a sequence is not read. All recursions are in log space: making the transitions takes
an exponential for each of their entries already, so that scaled probabilities would save little, and zeros need no care here.

A row that no reachable state can emit has log-likelihood −inf and its sequence the code IMPOSSIBLE; the recursion goes on as if
the row were missing. A NaN or +inf in L gives the code INVALID.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.hmm import IMPOSSIBLE, INVALID, LOG_SPACE


@jit
def _log_sum(x):
    """log Σ exp(x); −inf where there is no mass."""
    top, total = -np.inf, 0.0
    for k in range(x.shape[0]):
        top = max(top, x[k])
    if top == -np.inf:
        return top
    for k in range(x.shape[0]):
        total += math.exp(x[k] - top)
    return top + math.log(total)


@jit
def forward(log_pi, log_P, L, offsets, first, last, steps, log_a, log_f, codes):
    """Log-likelihood of each row given the rows before it, into `steps` (rows,), and the logarithms of the filtered and predicted
    probabilities (rows, K)."""
    K = log_pi.shape[0]
    ways = np.empty(K)
    for n in range(first, last):
        codes[n] = LOG_SPACE
        for t in range(offsets[n], offsets[n + 1]):
            valid = True
            for j in range(K):
                log_f[t, j] = log_pi[j]
                if t > offsets[n]:
                    for i in range(K):
                        ways[i] = log_a[t - 1, i] + log_P[t - 1, i, j]
                    log_f[t, j] = _log_sum(ways)
                log_a[t, j] = log_f[t, j] + L[t, j]
                valid = valid and L[t, j] < np.inf
            if not valid:
                codes[n] = INVALID
                break
            total = _log_sum(log_a[t])
            steps[t] = total
            if total == -np.inf:
                codes[n] = IMPOSSIBLE
                total = _log_sum(log_f[t])
                for j in range(K):
                    log_a[t, j] = log_f[t, j]
            for j in range(K):
                log_a[t, j] -= total


@jit
def backward(log_P, log_a, log_f, offsets, first, last, smoothed, pairs):
    """Smoothed probabilities (rows, K) and `pairs` (rows, K, K), the chances of each state here and each state at the next row.

    `pairs` has zeros at the last row of a sequence. By the ratio form g[t] = a[t] ∘ P[t] (g[t+1] / f[t+1]).
    """
    K = log_a.shape[1]
    log_g, ratio = np.empty(K), np.empty(K)
    for n in range(first, last):
        end = offsets[n + 1] - 1
        for i in range(K):
            log_g[i] = log_a[end, i]
            smoothed[end, i] = math.exp(log_g[i])
            for j in range(K):
                pairs[end, i, j] = 0.0
        for back in range(end - offsets[n]):
            t = end - 1 - back
            for j in range(K):
                ratio[j] = log_g[j] - log_f[t + 1, j] if log_g[j] > -np.inf else -np.inf
            for i in range(K):
                for j in range(K):
                    pairs[t, i, j] = log_a[t, i] + log_P[t, i, j] + ratio[j]
                log_g[i] = _log_sum(pairs[t, i])
            total = _log_sum(log_g)
            for i in range(K):
                log_g[i] -= total
                smoothed[t, i] = math.exp(log_g[i])
                for j in range(K):
                    pairs[t, i, j] = math.exp(pairs[t, i, j] - total)


@jit
def viterbi(log_pi, log_P, L, offsets, first, last, path, log_prob, codes):
    """Most probable `path` (rows,), ties to the lower state, and its `log_prob` (N,) joint with the observations."""
    K = log_pi.shape[0]
    for n in range(first, last):
        start, T = offsets[n], offsets[n + 1] - offsets[n]
        best, origin = np.empty((T, K)), np.zeros((T, K), np.int64)
        codes[n], log_prob[n] = LOG_SPACE, -np.inf
        for t in range(T):
            top = -np.inf
            for j in range(K):
                reached = log_pi[j] if t == 0 else -np.inf
                if t > 0:
                    for i in range(K):
                        way = best[t - 1, i] + log_P[start + t - 1, i, j]
                        origin[t, j] = i if way > reached else origin[t, j]
                        reached = way if way > reached else reached
                if not L[start + t, j] < np.inf:
                    codes[n] = INVALID
                best[t, j] = reached
                top = max(top, reached + L[start + t, j])
            if top == -np.inf:
                codes[n] = IMPOSSIBLE if codes[n] != INVALID else INVALID
            else:
                for j in range(K):
                    best[t, j] += L[start + t, j]
        at = np.argmax(best[T - 1])
        if codes[n] == LOG_SPACE:
            log_prob[n] = best[T - 1, at]
        for back in range(T):
            t = T - 1 - back
            path[start + t] = at
            at = origin[t, at]
