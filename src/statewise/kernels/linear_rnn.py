"""The linear RNN in innovations form over a batch: predictions with a schedule of gains, on plain arrays."""

from __future__ import annotations

from statewise.kernels._jit import jit


@jit(fast=True)
def run(y, at_state, at_observation, A, C, gain, h, work, expected):
    """ŷ[t] = C h + o[t] into `expected` (N, T, p), and h ← A h + s[t] + K[t] (y[t] − ŷ[t]) in place (N, n).

    y (N, T, p) is complete, at_state s (N, T, n) and at_observation o (N, T, p) are what inputs and intercepts add; the last of the gains
    (L, n, p) serves all later steps. `work` (n,) is room for the state to come.
    """
    N, T, p = y.shape
    n, last = h.shape[1], gain.shape[0] - 1
    for i in range(N):
        for t in range(T):
            K = gain[min(t, last)]
            for k in range(n):
                total = at_state[i, t, k]
                for j in range(n):
                    total += A[k, j] * h[i, j]
                work[k] = total
            for q in range(p):
                total = at_observation[i, t, q]
                for j in range(n):
                    total += C[q, j] * h[i, j]
                expected[i, t, q] = total
                error = y[i, t, q] - total
                for k in range(n):
                    work[k] += K[k, q] * error
            for k in range(n):
                h[i, k] = work[k]
