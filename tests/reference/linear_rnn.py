"""The linear RNN in innovations form, slowly: one sequence, plain loops. The definition of correct."""

from __future__ import annotations

import numpy as np


def run(y, s, o, A, C, gain, start):
    """ŷ (T, p) and the state after the last step (n,): ŷ[t] = C h + o[t], h ← A h + s[t] + K[t] (y[t] − ŷ[t]); the last gain stays."""
    h, found = np.array(start, dtype=float), []
    for t in range(len(y)):
        found.append(C @ h + o[t])
        h = A @ h + s[t] + gain[min(t, len(gain) - 1)] @ (y[t] - found[-1])
    return np.array(found), h
