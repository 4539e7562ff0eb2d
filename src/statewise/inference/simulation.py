"""Draws of the states given the observations."""

from __future__ import annotations

import numpy as np

from statewise.inference.smoothing import smooth
from statewise.inference.system import System, square_root
from statewise.sequences.sequences import Sequences


def simulate_states(sys: System, seqs: Sequences, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, rows, n) draws of all states of each sequence, jointly, given its observations.

    A draw (x⁺, y⁺) from the model with m0 = b = d = 0 gives x⁺ + E[x | y − y⁺]: the error x⁺ − E[x⁺ | y⁺] has the right law whatever y⁺ is
    (Durbin & Koopman, Biometrika 89 (2002)). A diffuse part of the start cancels, so that it may be drawn as 0. Takes O(count · rows · n²) memory.

    Args:
        sys: the system.
        seqs: the observations; NaN is missing.
        count: draws, at least 1.
        rng: source of randomness.

    Raises:
        NumericalError: as `smoothing.smooth`.
    """
    x, y = _unconditional(sys, seqs, count, rng)
    n, lengths = sys.n, np.tile(seqs.lengths, count)
    inputs = None if seqs.inputs is None else np.tile(seqs.inputs, (count, 1))
    differences = Sequences((seqs.values - y).reshape(count * seqs.rows, sys.p), lengths, inputs=inputs)
    mean, _ = smooth(sys, differences)
    return x + mean.reshape(count, seqs.rows, n)


def _unconditional(sys: System, seqs: Sequences, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """States (count, rows, n) and observations (count, rows, p) of the model without its offsets and inputs, started from N(0, P0)."""
    n = sys.n
    noise_root = square_root(np.block([[sys.Q, sys.S], [sys.S.T, sys.R]]))
    start_root = square_root(sys.P0)
    noise = rng.standard_normal((count, seqs.rows, noise_root.shape[1])) @ noise_root.T
    starts = rng.standard_normal((count, len(seqs), start_root.shape[1])) @ start_root.T
    x = np.empty((count, seqs.rows, n))
    for i, (first, end) in enumerate(zip(seqs.offsets[:-1], seqs.offsets[1:], strict=True)):
        x[:, first] = starts[:, i]
        for t in range(first, end - 1):
            x[:, t + 1] = x[:, t] @ sys.A.T + noise[:, t, :n]
    return x, x @ sys.C.T + noise[:, :, n:]
