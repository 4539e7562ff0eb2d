"""Sequences side by side in the lanes of a vector, long ones in parts.

A hidden Markov model forgets: two beliefs that see the same rows grow alike, by a factor a row (`discrete.forgetting_rate`). So a
long sequence is cut into parts, and the belief at a cut is found from the `_WARM` rows around it alone, started from an even law.
Afterwards each part's belief is compared with the one that the part beside it ended in, and where they differ by more than
rounding (`_AGREES`) the parts are done again from the latter: the result is that of one pass. Where even `_ROUNDS` of that do not
bring agreement, the lanes are left. Parts depend on the data's lengths alone, so that results do not depend on the number of threads.

Source of the bound on forgetting: Le Gland & Mevel, Math. Control Signals Systems 13 (2000).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from statewise.emissions.table import Table
from statewise.kernels import _chunks, _memory
from statewise.kernels import hmm_lanes as kernel
from statewise.kernels import hmm_lanes_paths as paths
from statewise.kernels._vector import LANES

if TYPE_CHECKING:
    from statewise.inference.discrete import Chain

_WARM, _AGREES, _ROUNDS = 512, 1e-13, 4
_NOTHING = 1e-300  # what may be lost of a state at a row: the unit of `losses`
_AGREES_IN_LOG = 1e-12
_LEAST, _MOST = 2048, 8192  # rows of a part
_FEWEST = 4  # stretches, below which lanes stay empty
_LARGE = 100_000  # entries of a table, from which on the time to get memory is felt
_SMOOTHING, _PATHS = 3.0, 3.0  # times of a forward pass that the others take
_KEPT = 2_000_000  # doubles, 16 MB
_NO_INDEX, _NO_SUMS = np.empty(0, dtype=np.int64), np.empty(0)


_Given = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # what the kernel of best paths takes of a chain and a table


@dataclass(frozen=True, eq=False)
class Stretches:
    """Sequences, and the parts of long ones, longest first.

    Attributes:
        first, count: (N,) their rows.
        sequence: (N,) which sequence they are of.
        begins, final: (N,) whether a sequence begins or ends there.
        after: (N,) the number of the stretch that goes on with the sequence.
    """

    first: np.ndarray
    count: np.ndarray
    sequence: np.ndarray
    begins: np.ndarray
    final: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, offsets: np.ndarray) -> Stretches:
        lengths = np.diff(offsets)
        part = min(max(_LEAST, int(offsets[-1]) // (2 * LANES)), _MOST)
        parts = np.maximum(1, lengths // part)
        which = np.repeat(np.arange(len(lengths)), parts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
        first = offsets[which] + lengths[which] * number // parts[which]
        count = np.append(first[1:], offsets[-1]) - first
        order = np.argsort(-count, kind="stable")
        place = np.empty(len(order) + 1, dtype=np.int64)
        place[order], place[-1] = np.arange(len(order)), -1
        final = number == parts[which] - 1
        return cls(first[order], count[order], which[order], number[order] == 0, final[order], place[order + 1])

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def cut(self) -> np.ndarray:
        """Numbers of the stretches that a part of the same sequence follows."""
        return np.flatnonzero(~self.final)


class Lanes:
    """The recursions over all sequences of a table."""

    def __init__(self, chain: Chain, table: np.ndarray | Table, offsets: np.ndarray, sparse: bool) -> None:
        self._chain, self._table, self._sparse = chain, table, sparse
        self._rows = _rows(table)
        if table.size > _LARGE:
            _memory.hold()
        self._stretches = Stretches.of(offsets)
        self._flat = np.ascontiguousarray(chain.transition).reshape(-1)
        self._ends, self._losses = np.empty((len(self._stretches), chain.states)), np.ones(len(self._stretches))
        self._nothing = np.empty((0, chain.states))

    @property
    def are_worth_it(self) -> bool:
        """Whether there are stretches for several lanes."""
        return len(self._stretches) >= _FEWEST

    def forward(self, keep: bool, steps: np.ndarray, probs: np.ndarray, predicted: np.ndarray) -> bool:
        """Fill `steps`, and with `keep` the others; False where that cannot be done side by side."""
        return self._forward(keep, _NO_SUMS, steps, probs, predicted)

    def log_prob(self) -> np.ndarray | None:
        """(sequences,) log-likelihoods; None where that cannot be done side by side."""
        sums, no = np.empty(len(self._stretches)), self._nothing
        return self._by_sequence(sums) if self._forward(False, sums, _NO_SUMS, no, no) else None

    def _forward(
        self, keep: bool, sums: np.ndarray, steps: np.ndarray, probs: np.ndarray, predicted: np.ndarray
    ) -> bool:
        laws, parts = self._laws(), self._stretches

        def work(begin: int, end: int) -> bool:
            where = (parts.first, parts.count, laws, self._sparse, keep, begin, end)
            into = (self._losses, sums, steps, probs, predicted, self._ends)
            return bool(kernel.forward(self._flat, *self._rows, *where, *into))

        for _ in range(_ROUNDS):
            if not self._shared(work, 1.0):
                return False
            if self._meet(laws):
                return self._nothing_lost()
        return False

    def _nothing_lost(self) -> bool:
        """Whether what may have been lost of the states is nothing: what a part began with is multiplied by what it may lose."""
        lost = np.bincount(self._stretches.sequence, weights=np.log(self._losses))
        return bool(lost.max() < np.log(kernel.MOST_LOST))

    def _by_sequence(self, sums: np.ndarray) -> np.ndarray:
        return np.bincount(self._stretches.sequence, weights=sums)

    def smooth(self, smoothed: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Fill `smoothed`; the sequences' log-likelihoods and the expected transitions, None where that cannot be done side by side."""
        laws, parts, K = self._laws(), self._stretches, self._chain.states
        tails, heads, sums = self._tails(), np.empty((len(parts), K)), np.empty(len(parts))
        pairs = np.zeros((-(-len(parts) // LANES), K, K))

        def work(begin: int, end: int) -> bool:
            where = (parts.first, parts.count, laws, tails, parts.final, self._sparse, begin, end)
            pairs[begin:end] = 0.0
            room = _room((2 * K + 1) * LANES * int(parts.count[begin * LANES]))
            return bool(
                kernel.smooth(
                    self._flat, *self._rows, *where, room, self._losses, sums, smoothed, pairs[begin], self._ends, heads
                )
            )

        for _ in range(_ROUNDS):
            if not self._shared(work, _SMOOTHING):
                return None
            if self._meet(laws) & self._meet_back(tails, heads):
                counts = pairs.sum(axis=0) * self._chain.transition
                known = np.isfinite(counts).all() and np.isfinite(smoothed[parts.first[parts.begins]]).all()
                return (self._by_sequence(sums), counts) if known and self._nothing_lost() else None
        return None

    def viterbi(self, path: np.ndarray) -> bool:
        """Fill `path` with the best one; False where that cannot be done side by side."""
        if isinstance(self._table, Table) and not (self._table.distinct < np.inf).all():
            return False
        parts, K = self._stretches, self._chain.states
        log_P = self._chain.log_transition
        log_P_T = _in_fours(np.concatenate([log_P.T, np.zeros((1, K))])).reshape(-1)
        given = (np.ascontiguousarray(log_P).reshape(-1), log_P_T, *_log_rows(self._table))
        seen, after = parts.count + np.where(parts.final, 0, _WARM), np.full(len(parts), -1)
        laws = self._scores(given)

        def work(begin: int, end: int) -> bool:
            room = _room(K * LANES * int(seen[begin * LANES :].max()))
            where = (parts.first, seen, parts.count, laws, begin, end, room)
            return bool(paths.viterbi(*given, *where, path, self._ends, after))

        for _ in range(_ROUNDS):
            if not self._shared(work, _PATHS):
                return False
            follow = parts.after[parts.cut]
            found = _best_ahead(self._ends[parts.cut], log_P)
            meet = _agree_in_log(laws[follow], found)
            laws[follow] = found
            if meet:
                return bool((path[parts.first[follow]] == after[parts.cut]).all())
        return False

    def _scores(self, given: _Given) -> np.ndarray:
        """`_laws` for the best path: of the best path to each state, up to what is the same for all."""
        parts = self._stretches
        laws = np.tile(self._chain.log_initial, (len(parts), 1))
        later = np.flatnonzero(~parts.begins)
        if len(later):
            first, count = parts.first[later] - _WARM, np.full(len(later), _WARM)
            ends = np.zeros((len(later), self._chain.states))
            spare, after = np.empty(len(self._table), dtype=np.int64), np.empty(len(later), dtype=np.int64)
            zeros, size = np.zeros_like(ends), self._chain.states * LANES * _WARM

            def work(begin: int, end: int) -> bool:
                where = (first, count, count, zeros, begin, end, _room(size))
                return bool(paths.viterbi(*given, *where, spare, ends, after))

            if self._shared(work, _PATHS * self._warm(len(later)), len(later)):
                laws[later] = _best_ahead(ends, given[0].reshape(ends.shape[1], -1))
        return laws

    def _warm(self, count: int) -> float:
        """The share of all rows that `count` warm-ups are."""
        return count * _WARM / len(self._table)

    def _shared(self, work: Callable[[int, int], bool], passes: float, count: int | None = None) -> bool:
        """Whether ``work(begin, end)`` did what it was to do for all groups of `count` stretches, of all stretches unless given.

        It takes the time of so many forward passes over all rows, of about a nanosecond for each entry of the table.
        """
        groups = -(-(len(self._stretches) if count is None else count) // LANES)
        bounds = np.linspace(0, groups, min(groups, 16) + 1).astype(np.int64)
        done = np.zeros(len(bounds) - 1, dtype=bool)

        def chunk(number: int, begin: int, end: int) -> None:
            done[number] = work(begin, end)

        _chunks.share(chunk, bounds, passes * self._table.size * (1.0 + self._chain.states / 16))
        return bool(done.all())

    def _laws(self) -> np.ndarray:
        """(N, K) predicted law of the first row of each stretch, that of a later part from the rows before it alone."""
        parts, K = self._stretches, self._chain.states
        laws = np.tile(self._chain.initial, (len(parts), 1))
        later = np.flatnonzero(~parts.begins)
        if len(later):
            first, count = parts.first[later] - _WARM, np.full(len(later), _WARM)
            even, ends, no = np.full((len(later), K), 1.0 / K), np.full((len(later), K), 1.0 / K), self._nothing

            def work(begin: int, end: int) -> bool:
                where = (first, count, even, False, False, begin, end)
                return bool(
                    kernel.forward(
                        self._flat, *self._rows, *where, np.empty(len(count)), _NO_SUMS, _NO_SUMS, no, no, ends
                    )
                )

            self._shared(work, self._warm(len(later)), len(later))
            laws[later] = ends @ self._chain.transition
        return laws

    def _tails(self) -> np.ndarray:
        """(N, K) what the kernel calls w of the row after each stretch, from the rows after it alone; zeros at an end."""
        parts, K = self._stretches, self._chain.states
        tails = np.zeros((len(parts), K))
        if len(parts.cut):
            found, count = np.full((len(parts.cut), K), 1.0 / K), np.full(len(parts.cut), _WARM)
            after = parts.first[parts.after[parts.cut]]

            def work(begin: int, end: int) -> bool:
                kernel.guess_tails(self._flat, *self._rows, after, count, begin, end, found)
                return True

            self._shared(work, self._warm(len(count)), len(count))
            tails[parts.cut] = found
        return tails

    def _meet(self, laws: np.ndarray) -> bool:
        """Whether the parts begin where those before them end; they are made to."""
        cut = self._stretches.cut
        found = self._ends[cut] @ self._chain.transition
        after = self._stretches.after[cut]
        agree = _agree(laws[after], found, _NOTHING)
        laws[after] = found
        return agree

    def _meet_back(self, tails: np.ndarray, heads: np.ndarray) -> bool:
        """`_meet` for the way back."""
        cut = self._stretches.cut
        found = heads[self._stretches.after[cut]]
        found = found / found.sum(axis=1, keepdims=True)
        agree = _agree(tails[cut], found)
        tails[cut] = found
        return agree


_kept = threading.local()


def _room(size: int) -> np.ndarray:
    """Memory to work in, which a thread keeps for the next time if it is not too much: to get it anew takes as long as to use it."""
    if size > _KEPT:
        return np.empty(size)
    if getattr(_kept, "room", _NO_INDEX).size < size:
        _kept.room = np.empty(size)
    return np.asarray(_kept.room[:size])


def _rows(table: np.ndarray | Table) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel calls L and which: of distinct rows the likelihoods are worked out here, once."""
    if not isinstance(table, Table):
        return table, _NO_INDEX
    distinct = np.concatenate([table.distinct, np.zeros((1, table.shape[1]))])
    top = distinct.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return _in_fours(np.exp(distinct - top), top), table.which


def _log_rows(table: np.ndarray | Table) -> tuple[np.ndarray, np.ndarray]:
    """`_rows` for kernels that add up log-likelihoods."""
    if not isinstance(table, Table):
        return table, _NO_INDEX
    distinct = np.concatenate([table.distinct, np.zeros((1, table.shape[1]))])
    return _in_fours(distinct, np.zeros((len(distinct), 1))), table.which


def _in_fours(*columns: np.ndarray) -> np.ndarray:
    """Side by side, and zeros that make their number a multiple of four."""
    count = sum(each.shape[1] for each in columns)
    return np.concatenate([*columns, np.zeros((len(columns[0]), -count % 4))], axis=1)


def _best_ahead(scores: np.ndarray, log_P: np.ndarray) -> np.ndarray:
    """(N, K) max_i scores[i] + log P[i, j], the largest being 0."""
    ahead = (scores[:, :, None] + log_P).max(axis=1)
    return np.asarray(ahead - ahead.max(axis=1, keepdims=True))


def _agree_in_log(guess: np.ndarray, found: np.ndarray) -> bool:
    """Scores are sums of a thousand numbers and more, hence more rounding."""
    with np.errstate(invalid="ignore"):
        return bool(((guess == found) | (np.abs(guess - found) <= _AGREES_IN_LOG * (1.0 + np.abs(found)))).all())


def _agree(guess: np.ndarray, law: np.ndarray, nothing: float = 0.0) -> bool:
    return bool((np.abs(guess - law) <= _AGREES * law + nothing).all())
