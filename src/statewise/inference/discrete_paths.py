"""Paths of hidden Markov models beyond the best one, and the gradient of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statewise.inference.discrete import Chain, checked, filter, smooth
from statewise.kernels import hmm_paths as kernel


def best_paths(chain: Chain, table: np.ndarray, lengths: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most probable paths (count, rows) of each sequence, best first, and their log probabilities (count, N).

    Where a sequence has fewer possible paths the rest is −1, with −inf. Source: Seshadri & Sundberg, IEEE Trans. Commun.
    42 (1994).
    """
    table, offsets = checked(chain, table, lengths)
    paths, log_prob = np.empty((count, len(table)), dtype=np.int64), np.empty((count, len(offsets) - 1))
    kernel.best_paths(chain.log_initial, chain.log_transition, table, offsets, paths, log_prob)
    return paths, log_prob


def posterior_paths(
    chain: Chain, table: np.ndarray, lengths: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """(count, rows) paths drawn from their law given the data. Source: Scott, JASA 97 (2002), §2."""
    table, offsets = checked(chain, table, lengths)
    filtered = filter(chain, table, lengths).probs
    paths = np.empty((count, len(table)), dtype=np.int64)
    kernel.posterior_paths(chain.transition, filtered, offsets, rng.random(paths.shape), paths)
    return paths


@dataclass(frozen=True, eq=False)
class Gradient:
    """log L and its derivatives in the logs of what the likelihood is made of.

    Attributes:
        log_prob: of all sequences together.
        initial: (K,) ∂ log L / ∂ log π: expected number of sequences that start in each state.
        transition: (K, K) ∂ log L / ∂ log P: expected transitions.
        table: (rows, K) ∂ log L / ∂ table: smoothed probabilities.
    """

    log_prob: float
    initial: np.ndarray
    transition: np.ndarray
    table: np.ndarray


def gradient(chain: Chain, table: np.ndarray, lengths: np.ndarray) -> Gradient:
    """Fisher's identity: the gradient of log L is the posterior mean of that of the log probability of states and data.

    Every entry of π, P and the table is varied by itself: none of them has to sum to one. Source: Cappé, Moulines & Rydén,
    *Inference in Hidden Markov Models* (2005), §10.1.
    """
    done = smooth(chain, table, lengths)
    return Gradient(done.log_prob, done.starts, done.counts, done.probs)
