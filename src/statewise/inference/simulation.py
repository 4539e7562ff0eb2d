"""Draws of the states given the observations."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

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
    centred: dict[str, Any] = {name: np.zeros_like(getattr(sys, name)) for name in ("m0", "b", "d", "B", "D")}
    whole = replace(sys, **centred)
    bounds = [slice(int(start), int(stop)) for start, stop in pairwise(seqs.offsets)]
    drawn = [simulate(_of_rows(whole, rows), rows.stop - rows.start, count, rng) for rows in bounds]
    x, y = (np.concatenate(each, axis=1) for each in zip(*drawn, strict=True))
    lengths = np.tile(seqs.lengths, count)
    inputs = None if seqs.inputs is None else np.tile(seqs.inputs, (count, 1))
    differences = Sequences((seqs.values - y).reshape(count * seqs.rows, sys.p), lengths, inputs=inputs)
    every = sys if sys.which is None else replace(sys, which=np.tile(sys.which, count))
    mean, _ = smooth(every, differences)
    return x + mean.reshape(x.shape)


def _of_rows(sys: System, rows: slice) -> System:
    """The system of some rows, of one that may change from row to row."""
    return sys if sys.which is None else replace(sys, which=sys.which[rows])
