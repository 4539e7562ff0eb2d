"""Paths of hidden Markov models beyond the best one."""

from __future__ import annotations

import numpy as np

from statewise.emissions.table import Table
from statewise.inference.discrete import checked
from statewise.inference.discrete_any import AnyChain, filter
from statewise.kernels import hmm_paths as kernel


def best_paths(
    chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most probable paths (count, rows) of each sequence, best first, and their log probabilities (count, N).

    Where a sequence has fewer possible paths the rest is −1, with −inf. Source: Seshadri & Sundberg, IEEE Trans. Commun.
    42 (1994).
    """
    table, offsets = checked(chain, table, lengths)
    paths, log_prob = np.empty((count, len(table)), dtype=np.int64), np.empty((count, len(offsets) - 1))
    log_P = chain.log_transition.reshape(-1, chain.states, chain.states)
    kernel.best_paths(chain.log_initial, log_P, table, offsets, paths, log_prob)
    return paths, log_prob


def posterior_paths(
    chain: AnyChain, table: np.ndarray | Table, lengths: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(count, rows) paths drawn from their law given the data. Source: Scott, JASA 97 (2002), §2."""
    table, offsets = checked(chain, table, lengths)
    filtered = filter(chain, table, lengths).probs
    paths = np.empty((count, len(table)), dtype=np.int64)
    P = chain.transition.reshape(-1, chain.states, chain.states)
    kernel.posterior_paths(P, filtered, offsets, rng.random(paths.shape), paths)
    return paths
