"""Hidden Markov models, slowly: log space throughout, one sequence, plain loops. The definition of correct.

`pi` (K,), `P` (K, K), table `L` (T, K) of log-likelihoods. Textbook alpha–beta form (Rabiner 1989, eqs. 19–37), which is
not the form that the kernels use.
"""

from __future__ import annotations

import itertools

import numpy as np


def log(x):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(x, dtype=float))


def log_sum(x, axis):
    return np.logaddexp.reduce(x, axis=axis)


def forward(pi, P, L):
    """(T, K) log alpha[t, k] = log p(y[1..t], s[t] = k)."""
    alpha = np.empty(L.shape)
    alpha[0] = log(pi) + L[0]
    for t in range(1, len(L)):
        alpha[t] = log_sum(alpha[t - 1][:, None] + log(P), axis=0) + L[t]
    return alpha


def backward(P, L):
    """(T, K) log beta[t, k] = log p(y[t+1..T] | s[t] = k)."""
    beta = np.zeros(L.shape)
    for t in range(len(L) - 2, -1, -1):
        beta[t] = log_sum(log(P) + L[t + 1] + beta[t + 1], axis=1)
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
    return np.vstack([pi, filtered(pi, P, L)[:-1] @ P])


def smoothed(pi, P, L):
    """(T, K) P(s[t] | y[1..T])."""
    gamma = forward(pi, P, L) + backward(P, L)
    return np.exp(gamma - log_sum(gamma, axis=1)[:, None])


def counts(pi, P, L):
    """(K, K) expected number of transitions given y[1..T]."""
    alpha, beta = forward(pi, P, L), backward(P, L)
    total = np.zeros(P.shape)
    for t in range(len(L) - 1):
        xi = alpha[t][:, None] + log(P) + L[t + 1] + beta[t + 1]
        total += np.exp(xi - log_sum(alpha[-1], axis=0))
    return total


def viterbi(pi, P, L):
    """Best path (T,) and its log probability; ties to the lower state."""
    delta, back = log(pi) + L[0], []
    for t in range(1, len(L)):
        ways = delta[:, None] + log(P)
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
        joint = joint + log(P)[paths[:, t - 1], paths[:, t]]
    return paths, joint


def gaussian_table(y, means, covariances):
    """(T, K) log N(y_o; mean_o, cov_oo), o the entries of the row that are not NaN; covariances (K, p, p)."""
    table = np.zeros((len(y), len(means)))
    for t, row in enumerate(y):
        o = ~np.isnan(row)
        for k, (mean, cov) in enumerate(zip(means, covariances, strict=True)):
            gap, sub = row[o] - mean[o], cov[np.ix_(o, o)]
            table[t, k] = -0.5 * (
                o.sum() * np.log(2 * np.pi) + np.linalg.slogdet(sub)[1] + gap @ np.linalg.inv(sub) @ gap
            )
    return table
