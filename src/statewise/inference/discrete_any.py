"""The functions of `inference.discrete` for whichever chain there is: of constant transitions, or of varying ones."""

from __future__ import annotations

import numpy as np

from statewise.emissions.table import Table
from statewise.inference import discrete, discrete_varying
from statewise.inference.discrete import Chain, Filtered, Path, Smoothed
from statewise.inference.discrete_varying import VaryingChain

AnyChain = Chain | VaryingChain


def log_prob_steps(chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray) -> np.ndarray:
    """(rows,) log-likelihood of each row given the rows before it."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.log_prob_steps(chain, table, lengths)
    return discrete.log_prob_steps(chain, table, lengths)


def log_prob(chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray) -> np.ndarray:
    """(N,) log-likelihood of each sequence."""
    if isinstance(chain, VaryingChain):
        return np.add.reduceat(discrete_varying.log_prob_steps(chain, table, lengths), np.cumsum(lengths) - lengths)
    return discrete.log_prob(chain, table, lengths)


def filter(chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray) -> Filtered:
    """State probabilities given the past, and given the past and present."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.filter(chain, table, lengths)
    return discrete.filter(chain, table, lengths)


def smooth(chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray) -> Smoothed:
    """State probabilities given the whole sequence, and expected counts."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.smooth(chain, table, lengths)
    return discrete.smooth(chain, table, lengths)


def viterbi(chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray) -> Path:
    """The most probable path; ties go to the lower state."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.viterbi(chain, table, lengths)
    return discrete.viterbi(chain, table, lengths)


def forgetting_rate(chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray) -> float:
    """How fast the filter forgets its start along the data, a factor per step."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.forgetting_rate(chain, table, lengths)
    return discrete.forgetting_rate(chain, table, lengths)


def propagate(chain: AnyChain, belief: np.ndarray, steps: int) -> np.ndarray:
    """(N, steps, K) state probabilities 1 to `steps` steps after the beliefs (N, K)."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.propagate(chain, belief, steps)
    return discrete.propagate(chain, belief, steps)


def sample_paths(chain: AnyChain, length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, length) state paths drawn from the chain."""
    if isinstance(chain, VaryingChain):
        return discrete_varying.sample_paths(chain, length, count, rng)
    return discrete.sample_paths(chain, length, count, rng)


def after(chain: AnyChain, belief: np.ndarray, n: int, steps: int) -> AnyChain:
    """The chain from the first of `steps` steps after the belief (K,); that of sequence n, where a varying one has N times `steps` rows."""
    if isinstance(chain, Chain):
        return Chain(belief @ chain.transition, chain.transition)
    rows = chain.log_transition[n * steps : (n + 1) * steps]
    return VaryingChain(belief @ np.exp(rows[0]), np.roll(rows, -1, axis=0))
