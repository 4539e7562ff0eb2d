"""Inference in hidden Markov models: pure functions of (chain, table of log-likelihoods, lengths).

The table (rows, K) has one row a step: the log-likelihood of what was seen at that step in each state. It is 0 in all
states where nothing was seen, and −inf where a state cannot emit what was seen. Emission families never come closer than
this. Sequences are packed: `lengths` (N,) says how many rows each has.

A sequence that the chain cannot produce has log-likelihood −inf at the row where that shows. From there on the belief is
carried as if that row were missing; `outcome` says IMPOSSIBLE and `impossible` which sequences. No result holds a NaN.

Sources: Rabiner, Proc. IEEE 77 (1989); Kitagawa, JASA 82 (1987); Cappé, Moulines & Rydén, *Inference in Hidden Markov
Models* (2005), ch. 3 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.emissions.table import Table
from statewise.inference.discrete_lanes import Lanes
from statewise.kernels import _chunks, hmm_forgetting, hmm_paths
from statewise.kernels import hmm as kernel

_NO_INDEX = np.empty(0, dtype=np.int64)
_DENSE = 1e-200  # with no transition rarer than this, a state lost to underflow cannot matter


@dataclass(frozen=True, eq=False)
class Chain:
    """A Markov chain on K states: `initial` (K,) law of the first state, `transition` (K, K) with rows that sum to 1."""

    initial: np.ndarray
    transition: np.ndarray

    @property
    def states(self) -> int:
        return len(self.initial)

    @cached_property
    def log_initial(self) -> np.ndarray:
        """(K,) log probabilities; −inf for zeros."""
        return log(self.initial)

    @cached_property
    def log_transition(self) -> np.ndarray:
        """(K, K) log probabilities; −inf for zeros."""
        return log(self.transition)


@dataclass(frozen=True, eq=False)
class _Discrete:
    """What every result says of its sequences: `codes` (N,) of the kernel."""

    codes: np.ndarray

    @property
    def impossible(self) -> np.ndarray:
        """Numbers of the sequences that the chain cannot produce."""
        return np.flatnonzero(self.codes == kernel.IMPOSSIBLE)

    @property
    def outcome(self) -> Outcome:
        """IMPOSSIBLE if any sequence is, else CLOSED_FORM."""
        return Outcome.IMPOSSIBLE if len(self.impossible) else Outcome.CLOSED_FORM


@dataclass(frozen=True, eq=False)
class Filtered(_Discrete):
    """State probabilities given the past and present.

    Attributes:
        steps: (rows,) log-likelihood of each row given the rows before it.
        probs: (rows, K) state probabilities given the rows up to and with this one.
        predicted: (rows, K) state probabilities given the rows before this one.
    """

    steps: np.ndarray
    probs: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True, eq=False)
class Smoothed(_Discrete):
    """State probabilities given the whole sequence, and the expected counts that EM needs.

    Attributes:
        log_probs: (N,) log-likelihood of each sequence.
        probs: (rows, K) state probabilities given all rows of the sequence.
        counts: (K, K) expected number of transitions from state to state, over all sequences.
        starts: (K,) expected number of sequences that start in each state.
    """

    log_probs: np.ndarray
    probs: np.ndarray
    counts: np.ndarray
    starts: np.ndarray

    @property
    def log_prob(self) -> float:
        """Log-likelihood of all sequences together, in nats."""
        return float(self.log_probs.sum())


@dataclass(frozen=True, eq=False)
class Path(_Discrete):
    """The most probable path of each sequence: `states` (rows,) and its log probability jointly with the data (N,)."""

    states: np.ndarray
    log_prob: np.ndarray


def log_prob_steps(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray) -> np.ndarray:
    """(rows,) log-likelihood of each row given the rows before it; O(K) memory beyond the result."""
    return _filtered(chain, table, lengths, keep=False).steps


def log_prob(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray) -> np.ndarray:
    """(N,) log-likelihood of each sequence."""
    table, offsets = judged(chain, table, lengths)
    lanes = Lanes(chain, table, offsets, _is_sparse(chain))
    found = lanes.log_prob() if lanes.are_worth_it else None
    return by_sequence(_forward(chain, _dense(table), offsets, keep=False).steps, offsets) if found is None else found


def filter(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray) -> Filtered:
    """a[t] ∝ f[t] ∘ b[t], f[t+1] = Pᵀ a[t], f[1] = π, with b = exp(table)."""
    return _filtered(chain, table, lengths, keep=True)


def smooth(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray) -> Smoothed:
    """g[t] = a[t] ∘ P (g[t+1] / f[t+1]); expected transitions Σ_t a[t, i] P[i, j] g[t+1, j] / f[t+1, j]."""
    table, offsets = judged(chain, table, lengths)
    lanes = Lanes(chain, table, offsets, _is_sparse(chain))
    if lanes.are_worth_it:
        probs = np.empty(table.shape)
        found = lanes.smooth(probs)
        if found is not None:
            codes = np.full(len(offsets) - 1, kernel.SCALED)
            return Smoothed(codes, found[0], probs, found[1], probs[offsets[:-1]].sum(axis=0))
    table = _dense(table)
    done = _forward(chain, table, offsets, keep=True, logs=True)
    bounds = _chunks.by_sequence(offsets)
    counts = np.zeros((len(bounds) - 1, chain.states, chain.states))
    fixed = (chain.transition, chain.log_transition, offsets)
    smoothed = done.predicted  # the kernel reads each prediction just before it writes the smoothed row there

    def work(chunk: int, first: int, last: int) -> None:
        kernel.backward(*fixed, first, last, done.codes, done.probs, done.predicted, smoothed, counts[chunk])

    _chunks.share(work, bounds, _cost(table))
    log_probs, starts = by_sequence(done.steps, offsets), smoothed[offsets[:-1]].sum(axis=0)
    return Smoothed(done.codes, log_probs, smoothed, counts.sum(axis=0), starts)


def viterbi(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray) -> Path:
    """argmax over paths of log π + Σ log P + Σ table; ties go to the lower state."""
    table, offsets = judged(chain, table, lengths)
    states, log_prob = np.empty(len(table), dtype=np.int64), np.empty(len(offsets) - 1)
    lanes = Lanes(chain, table, offsets, sparse=False)
    if lanes.are_worth_it and lanes.viterbi(states):
        known, which = (table.distinct, table.which) if isinstance(table, Table) else (table, _NO_INDEX)
        hmm_paths.path_log_probs(chain.log_initial, chain.log_transition, known, which, states, offsets, log_prob)
        return Path(np.full(len(log_prob), kernel.LOG_SPACE), states, log_prob)
    table, codes = _dense(table), np.empty(len(log_prob), dtype=np.int64)
    fixed = (chain.log_initial, chain.log_transition, table, offsets)

    def work(chunk: int, first: int, last: int) -> None:
        hmm_paths.viterbi(*fixed, first, last, states, log_prob, codes)

    _chunks.share(work, _chunks.by_sequence(offsets), _cost(table))
    refuse_invalid(codes)
    return Path(codes, states, log_prob)


def propagate(chain: Chain, belief: np.ndarray, steps: int) -> np.ndarray:
    """(N, steps, K) state probabilities 1 to `steps` steps after the beliefs (N, K): belief Pʰ."""
    result = np.empty((len(belief), steps, chain.states))
    for step in range(steps):
        belief = belief @ chain.transition
        result[:, step] = belief
    return result


def sample_paths(chain: Chain, length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, length) state paths drawn from the chain."""
    path = np.empty((count, length), dtype=np.int64)
    laws = cumulative(chain.initial), cumulative(chain.transition[None])
    hmm_paths.sample_paths(*laws, rng.random((count, length)), path)
    return path


def mixing_rate(chain: Chain) -> float:
    """|λ₂(P)|: the factor per step by which the chain forgets where it was when nothing is observed."""
    if chain.states == 1:
        return 0.0
    moduli = np.sort(np.abs(np.linalg.eigvals(chain.transition)))
    return rate_of(float(moduli[-2]))


def forgetting_rate(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray) -> float:
    """exp(λ₂ − λ₁), λ the top Lyapunov exponents of b[t] ∘ Pᵀ along the data: how fast the filter forgets its start.

    The geometric mean over the steps of the slope of the belief's recursion in log space. NaN if no sequence has two rows.
    """
    done = _filtered(chain, table, lengths, keep=True)
    growth, count = hmm_forgetting.forgetting(chain.transition[None], done.probs, done.predicted, _offsets(lengths))
    return rate_of(float(np.exp(growth / count))) if count else float("nan")


def _filtered(chain: Chain, table: np.ndarray | Table, lengths: np.ndarray, keep: bool) -> Filtered:
    table, offsets = judged(chain, table, lengths)
    lanes = Lanes(chain, table, offsets, _is_sparse(chain))
    if lanes.are_worth_it:
        found = _room(table, keep)
        if lanes.forward(keep, *found):
            return Filtered(np.full(len(offsets) - 1, kernel.SCALED), *found)
    return _forward(chain, _dense(table), offsets, keep)


def _room(table: np.ndarray | Table, keep: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = table.shape if keep else (0, table.shape[1])
    return np.empty(len(table)), np.empty(kept), np.empty(kept)


def _forward(chain: Chain, table: np.ndarray, offsets: np.ndarray, keep: bool, logs: bool = False) -> Filtered:
    """One sequence after the other, in log space where that is needed."""
    (steps, probs, predicted), codes = _room(table, keep), np.empty(len(offsets) - 1, dtype=np.int64)
    sparse = _is_sparse(chain)
    fixed = (chain.initial, chain.transition, chain.log_initial, chain.log_transition, table, offsets)

    def work(chunk: int, first: int, last: int) -> None:
        kernel.forward(*fixed, first, last, sparse, keep, logs, steps, probs, predicted, codes)

    _chunks.share(work, _chunks.by_sequence(offsets), _cost(table))
    refuse_invalid(codes)
    return Filtered(codes, steps, probs, predicted)


def _is_sparse(chain: Chain) -> bool:
    return bool(chain.transition.min() < _DENSE)


class HasStates(Protocol):
    """Any chain on K states."""

    @property
    def states(self) -> int: ...


def judged(chain: HasStates, table: np.ndarray | Table, lengths: np.ndarray) -> tuple[np.ndarray | Table, np.ndarray]:
    """The table, and where each sequence begins and ends in it (N + 1,)."""
    offsets = _offsets(lengths)
    if not isinstance(table, Table):
        table = np.ascontiguousarray(table, dtype=np.float64)
    if len(table.shape) != 2 or table.shape[1] != chain.states:
        raise InputError(f"`table` has shape {table.shape}; pass one column for each of the {chain.states} states")
    if offsets[-1] != len(table):
        raise InputError(
            f"`lengths` sums to {offsets[-1]} but `table` has {len(table)} rows; pass lengths that sum to that"
        )
    return table, offsets


def checked(chain: HasStates, table: np.ndarray | Table, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`judged`, with every row of the table."""
    table, offsets = judged(chain, table, lengths)
    return _dense(table), offsets


def _dense(table: np.ndarray | Table) -> np.ndarray:
    return table.spread() if isinstance(table, Table) else table


def refuse_invalid(codes: np.ndarray) -> None:
    if (codes == kernel.INVALID).any():
        which = int(np.flatnonzero(codes == kernel.INVALID)[0])
        raise InputError(
            f"`table` has a NaN or +inf in sequence {which}; log-likelihoods are finite, or −inf for impossible"
        )


def by_sequence(steps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(N,) the sums of each sequence's rows."""
    return np.add.reduceat(steps, offsets[:-1])


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _cost(table: np.ndarray | Table) -> float:
    return table.size * (table.shape[1] + 20.0)


def log(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def cumulative(law: np.ndarray) -> np.ndarray:
    """Cumulative sums whose entries from the last possible state on are exactly 1, so that no draw goes beyond it."""
    last = law.shape[-1] - 1 - np.argmax(law[..., ::-1] > 0, axis=-1)
    return np.where(np.arange(law.shape[-1]) >= last[..., None], 1.0, np.cumsum(law, axis=-1))


def rate_of(value: float) -> float:
    """A rate without the rounding that would make nothing into a little, or forever into almost."""
    if value < 1e-12:
        return 0.0
    return 1.0 if value > 1 - 1e-14 else value
