"""`inference.discrete` for chains whose transitions change from row to row: the same functions, results and outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from statewise._core.errors import InputError
from statewise.emissions.table import Table
from statewise.inference.discrete import (
    Filtered,
    Path,
    Smoothed,
    by_sequence,
    checked,
    cumulative,
    log,
    rate_of,
    refuse_invalid,
)
from statewise.kernels import _chunks, hmm_forgetting, hmm_paths
from statewise.kernels import hmm_varying as kernel


@dataclass(frozen=True, eq=False)
class VaryingChain:
    """A Markov chain on K states along packed sequences.

    Attributes:
        initial: (K,) law of the first state of each sequence.
        log_transition: (rows, K, K) log P[t, i, j], of state j at row t + 1 given state i at row t; −inf where it cannot be.
            That of a sequence's last row leads to the row that would follow.
    """

    initial: np.ndarray
    log_transition: np.ndarray

    @property
    def states(self) -> int:
        return len(self.initial)

    @cached_property
    def log_initial(self) -> np.ndarray:
        """(K,) log probabilities; −inf for zeros."""
        return log(self.initial)

    @cached_property
    def transition(self) -> np.ndarray:
        """(rows, K, K) P[t]."""
        return np.exp(self.log_transition)


@dataclass(frozen=True, eq=False)
class SmoothedPairs(Smoothed):
    """`Smoothed`, with the joint law of neighbours.

    Attributes:
        pairs: (rows, K, K) chances of each state at a row and each state at the next, given all rows; zeros at the last row of
            each sequence.
    """

    pairs: np.ndarray


def log_prob_steps(chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray) -> np.ndarray:
    """(rows,) log-likelihood of each row given the rows before it."""
    return _forward(chain, table, lengths)[1]


def filter(chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray) -> Filtered:
    """a[t] ∝ f[t] ∘ b[t], f[t+1] = P[t]ᵀ a[t], f[1] = π, with b = exp(table)."""
    codes, steps, log_a, log_f, _ = _forward(chain, table, lengths)
    return Filtered(codes, steps, np.exp(log_a), np.exp(log_f))


def smooth(chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray) -> SmoothedPairs:
    """g[t] = a[t] ∘ P[t] (g[t+1] / f[t+1]), and pairs a[t, i] P[t, i, j] g[t+1, j] / f[t+1, j]."""
    codes, steps, log_a, log_f, offsets = _forward(chain, table, lengths)
    smoothed, pairs = np.empty(log_a.shape), np.empty(chain.log_transition.shape)

    def work(_: int, first: int, last: int) -> None:
        kernel.backward(chain.log_transition, log_a, log_f, offsets, first, last, smoothed, pairs)

    _chunks.share(work, _chunks.by_sequence(offsets), _cost(chain))
    log_probs, starts = by_sequence(steps, offsets), smoothed[offsets[:-1]].sum(axis=0)
    return SmoothedPairs(codes, log_probs, smoothed, pairs.sum(axis=0), starts, pairs)


def viterbi(chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray) -> Path:
    """argmax over paths of log π + Σ log P[t] + Σ table; ties go to the lower state."""
    table, offsets = _fitting(chain, table, lengths)
    states, count = np.empty(len(table), dtype=np.int64), len(offsets) - 1
    log_prob, codes = np.empty(count), np.empty(count, dtype=np.int64)
    fixed = (chain.log_initial, chain.log_transition, table, offsets)

    def work(_: int, first: int, last: int) -> None:
        kernel.viterbi(*fixed, first, last, states, log_prob, codes)

    _chunks.share(work, _chunks.by_sequence(offsets), _cost(chain))
    refuse_invalid(codes)
    return Path(codes, states, log_prob)


def forgetting_rate(chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray) -> float:
    """As `discrete.forgetting_rate`: with a table of zeros, how fast the chain itself forgets along its transitions."""
    codes, _, log_a, log_f, offsets = _forward(chain, table, lengths)
    refuse_invalid(codes)
    growth, count = hmm_forgetting.forgetting(chain.transition, np.exp(log_a), np.exp(log_f), offsets)
    return rate_of(float(np.exp(growth / count))) if count else float("nan")


def propagate(chain: VaryingChain, belief: np.ndarray, steps: int) -> np.ndarray:
    """(N, steps, K) state probabilities 1 to `steps` steps after the beliefs (N, K), the chain's rows being N times `steps`."""
    transition = chain.transition.reshape(len(belief), steps, chain.states, chain.states)
    result = np.empty((len(belief), steps, chain.states))
    for step in range(steps):
        belief = np.einsum("ni,nij->nj", belief, transition[:, step])
        result[:, step] = belief
    return result


def sample_paths(chain: VaryingChain, length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, length) state paths drawn from the chain; its rows are `length`, the same for all, or `count` times `length`."""
    path = np.empty((count, length), dtype=np.int64)
    laws = cumulative(chain.initial), cumulative(chain.transition)
    hmm_paths.sample_paths(*laws, rng.random((count, length)), path)
    return path


def _forward(
    chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes, steps, log filtered, log predicted, offsets."""
    table, offsets = _fitting(chain, table, lengths)
    codes, steps = np.empty(len(offsets) - 1, dtype=np.int64), np.empty(len(table))
    log_a, log_f = np.empty(table.shape), np.empty(table.shape)
    fixed = (chain.log_initial, chain.log_transition, table, offsets)

    def work(_: int, first: int, last: int) -> None:
        kernel.forward(*fixed, first, last, steps, log_a, log_f, codes)

    _chunks.share(work, _chunks.by_sequence(offsets), _cost(chain))
    refuse_invalid(codes)
    return codes, steps, log_a, log_f, offsets


def _fitting(chain: VaryingChain, table: np.ndarray | Table, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    table, offsets = checked(chain, table, lengths)
    if len(chain.log_transition) != len(table):
        raise InputError(
            f"the chain has transitions for {len(chain.log_transition)} rows and `table` has {len(table)}; pass one for each row"
        )
    return table, offsets


def _cost(chain: VaryingChain) -> float:
    return 20.0 * chain.log_transition.size
