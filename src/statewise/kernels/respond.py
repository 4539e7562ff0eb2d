"""How the predictions of the Kalman filter respond to a diffuse start, and what the data say of it; see `statewise.kernels.smoother`."""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit
from statewise.kernels.closed_loop import gain, new_loop, observed
from statewise.kernels.known import multiply


@jit
def respond_run(y, start, stop, steady, A, C, R, S, mean_pred, cov_pred, X, response, score, information):
    """Rows start to stop of `respond_packed` for one sequence; X (n, d) is the response of the row `start` on entry and of `stop` on exit.

    Returns 0, or 2 if an innovation covariance is singular.
    """
    p, n, d = y.shape[1], A.shape[0], X.shape[1]
    loop, FCX = new_loop(A, p), np.empty((p, d))
    seen, L, Finv = loop.seen, loop.L, loop.Finv
    CX, moved = np.empty((p, d)), np.empty((n, d))
    for t in range(start, stop):
        response[t] = X
        k = observed(y, t, seen)
        if t <= steady and not gain(C, R, S, cov_pred[t], k, loop):
            return 2
        for i in range(k):
            for h in range(d):
                CX[i, h] = 0.0
                for a in range(n):
                    CX[i, h] += C[seen[i], a] * X[a, h]
        for i in range(k):
            v = y[t, seen[i]]
            for a in range(n):
                v -= C[seen[i], a] * mean_pred[t, a]
            for h in range(d):
                FCX[i, h] = 0.0
                for j in range(k):
                    FCX[i, h] += Finv[i, j] * CX[j, h]
                score[h] += FCX[i, h] * v
        for i in range(k):
            for h in range(d):
                for g in range(d):
                    information[h, g] += CX[i, h] * FCX[i, g]
        multiply(L, X, moved)
        X[:] = moved
    return 0


@jit
def respond_packed(
    first, last, y, offsets, steady_from, A, C, R, S, mean_pred, cov_pred, W, response, score, information, status
):
    """The response X (rows, n, d) of the predictions to δ, and Σ X' C' F⁻¹ v (N, d) and Σ X' C' F⁻¹ C X (N, d, d): δ's score and information.

    W (n, d) is the response of the first state; score and information are zeros on entry, and status as in `backward_packed`.
    """
    for s in range(first, last):
        start = offsets[s]
        status[s] = respond_run(
            y, start, offsets[s + 1], start + steady_from[s], A, C, R, S, mean_pred, cov_pred, W.copy(), response, score[s], information[s],
        )  # fmt: skip
