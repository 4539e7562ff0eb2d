"""Hidden Markov models whose transitions change from row to row, slowly: one sequence, P (T, K, K), P[t] from row t to row t + 1.

Forward–backward in the textbook form, in log space. The definition of correct.
"""

from __future__ import annotations

import itertools

import numpy as np
from tests.reference.hmm import log, log_sum


def softmax_transitions(intercepts, coefficients, inputs):
    """P[t, i, j] = exp(c[i, j] + Σ W[i, m, j] u[t, m]) over its sum; plain loops."""
    (K, _), T = np.shape(intercepts), len(inputs)
    P = np.empty((T, K, K))
    for t in range(T):
        for i in range(K):
            scores = [intercepts[i][j] + sum(np.asarray(coefficients)[i, :, j] * inputs[t]) for j in range(K)]
            weights = np.exp(np.array(scores) - max(scores))
            P[t, i] = weights / weights.sum()
    return P


def forward(pi, P, L):
    """(T, K) log p(y[1..t], s[t] = k)."""
    alpha = np.empty(L.shape)
    alpha[0] = log(pi) + L[0]
    for t in range(1, len(L)):
        alpha[t] = log_sum(alpha[t - 1][:, None] + log(P[t - 1]), axis=0) + L[t]
    return alpha


def backward(P, L):
    """(T, K) log p(y[t+1..T] | s[t] = k)."""
    beta = np.zeros(L.shape)
    for t in range(len(L) - 2, -1, -1):
        beta[t] = log_sum(log(P[t]) + L[t + 1] + beta[t + 1], axis=1)
    return beta


def log_prob_steps(pi, P, L):
    """(T,) log p(y[t] | y[1..t-1])."""
    return np.diff(log_sum(forward(pi, P, L), axis=1), prepend=0.0)


def filtered(pi, P, L):
    """(T, K) P(s[t] | y[1..t])."""
    alpha = forward(pi, P, L)
    return np.exp(alpha - log_sum(alpha, axis=1)[:, None])


def predicted(pi, P, L):
    """(T, K) P(s[t] | y[1..t-1])."""
    now = filtered(pi, P, L)
    return np.array([pi, *(now[t] @ P[t] for t in range(len(L) - 1))])


def smoothed(pi, P, L):
    """(T, K) P(s[t] | y[1..T])."""
    gamma = forward(pi, P, L) + backward(P, L)
    return np.exp(gamma - log_sum(gamma, axis=1)[:, None])


def pairs(pi, P, L):
    """(T, K, K) P(s[t], s[t+1] | y[1..T]); zeros at the last row."""
    alpha, beta, found = forward(pi, P, L), backward(P, L), np.zeros(P.shape)
    for t in range(len(L) - 1):
        joint = alpha[t][:, None] + log(P[t]) + L[t + 1] + beta[t + 1]
        found[t] = np.exp(joint - log_sum(alpha[-1], axis=0))
    return found


def viterbi(pi, P, L):
    """Best path (T,) and its log probability; ties to the lower state."""
    delta, back = log(pi) + L[0], []
    for t in range(1, len(L)):
        ways = delta[:, None] + log(P[t - 1])
        back.append(ways.argmax(axis=0))
        delta = ways.max(axis=0) + L[t]
    path = [int(delta.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1]), float(delta.max())


def enumerate_paths(pi, P, L):
    """All K^T paths: (paths (M, T), log joint probability of each with the data (M,))."""
    T, K = L.shape
    paths = np.array(list(itertools.product(range(K), repeat=T)))
    joint = log(pi)[paths[:, 0]] + L[np.arange(T), paths].sum(axis=1)
    for t in range(1, T):
        joint = joint + log(P[t - 1])[paths[:, t - 1], paths[:, t]]
    return paths, joint
