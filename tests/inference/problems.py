"""Random systems with data drawn from them, and the local level model: what the tests of linear-Gaussian inference share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from tests.reference import kalman as ref

from statewise.inference import filtering
from statewise.inference.system import System
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

SEEDS = st.integers(0, 2**32 - 1)
Q_AND_GAIN = [(1.0, 0.618034), (0.1, 0.270156), (0.01, 0.095125)]


def draw(seed: int, lengths=(9,), n=3, p=2, u=0, missing=0.2, **options):
    """A random system, and sequences simulated from its known-start version, with entries missing."""
    sys, arrays, inputs = ref.draw(seed, lengths, n, p, u, missing, **options)
    seqs = Sequences.from_arrays(arrays, inputs=inputs if u else None)
    return sys, make_system(**sys), seqs, arrays, inputs


def log_prob(system: System, seqs: Sequences) -> np.ndarray:
    steps = filtering.run_filter(system, seqs, store=False).log_prob
    return np.add.reduceat(steps, seqs.offsets[:-1])


def local_level(q: float, R: float = 1.0, diffuse: bool = True) -> dict[str, np.ndarray]:
    one = np.eye(1)
    start = {"m0": np.zeros(1), "P0": np.zeros((1, 1)), "Pinf": one} if diffuse else {"m0": np.zeros(1), "P0": one}
    return {"A": one, "C": one, "Q": q * R * one, "R": R * one} | start
