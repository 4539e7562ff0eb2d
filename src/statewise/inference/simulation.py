"""Draws of the states given the observations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from statewise.inference.filtering import simulate
from statewise.inference.smoothing import smooth
from statewise.inference.system import System
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
    centred = {name: np.zeros_like(getattr(sys, name)) for name in ("m0", "b", "d", "B", "D")}
    drawn = [simulate(replace(sys, **centred), int(length), count, rng) for length in seqs.lengths]
    x, y = (np.concatenate(each, axis=1) for each in zip(*drawn, strict=True))
    lengths = np.tile(seqs.lengths, count)
    inputs = None if seqs.inputs is None else np.tile(seqs.inputs, (count, 1))
    differences = Sequences((seqs.values - y).reshape(count * seqs.rows, sys.p), lengths, inputs=inputs)
    mean, _ = smooth(sys, differences)
    return x + mean.reshape(x.shape)
