"""Losses under a shortened context: what a model makes of a step when it has seen the last k steps only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from statewise.dissection.packing import inside
from statewise.dissection.systems import System
from statewise.sequences.sequences import Sequences

TARGETS = 400  # steps that are looked at, spread evenly over the sequences
Context = Callable[[int], np.ndarray | None]


def targets(lengths: np.ndarray, offsets: np.ndarray, most: int = TARGETS) -> np.ndarray:
    """(M,) packed rows, evenly spread over the later halves of the sequences, which have some past."""
    rows = [np.arange(start + length // 2, start + length) for start, length in zip(offsets[:-1], lengths, strict=True)]
    every = np.concatenate(rows)
    return every[np.unique(np.linspace(0, len(every) - 1, min(most, len(every))).astype(int))]


def density_context(model: Any, seqs: Sequences, least: int = 0) -> Context:
    """A function of k that gives (M,) −log p(y[t] | the k rows before it) of the target rows; of −1 given all that came before.

    Where t has fewer than k rows before it, they are all that there are. None for fewer than `least` rows, from which nothing can be said.
    """
    rows = targets(seqs.lengths, seqs.offsets)
    begins = np.repeat(seqs.offsets[:-1], seqs.lengths)[rows]

    def context(k: int) -> np.ndarray | None:
        if k < 0:
            return -np.asarray(model.log_prob(seqs, per_step=True))[rows]
        if k < least:
            return None
        cut = windows(seqs, np.maximum(rows - k, begins), rows)
        return -np.asarray(model.log_prob(cut, per_step=True))[cut.offsets[1:] - 1]

    return context


def windows(seqs: Sequences, first: np.ndarray, last: np.ndarray) -> Sequences:
    """The rows from `first` to `last`, both included, each pair as a sequence of its own."""
    lengths = last - first + 1
    rows = np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
    per_step = seqs.labels is not None and seqs.labels_per == "step"
    return Sequences(
        seqs.values[rows],
        lengths,
        inputs=None if seqs.inputs is None else seqs.inputs[rows],
        times=None if seqs.times is None else seqs.times[rows],
        labels=seqs.labels[rows] if per_step and seqs.labels is not None else None,
        columns=seqs.columns,
        input_columns=seqs.input_columns,
        symbols=seqs.symbols,
        season=seqs.season,
    )


def truncated(system: System) -> Callable[[], np.ndarray]:
    """A function that gives, call by call, (B, T, n) the states after 1, 2, … steps from the sequences' first states.

    At [:, t] of call k stands the state that step t has when the network has seen the inputs t − k + 1 … t only, or fewer where the
    sequence is younger: each call makes one step of all windows at once.
    """
    b, t = np.nonzero(inside(system.lengths))
    states = np.repeat(system.states[:, :1], system.steps, axis=1)

    def after() -> np.ndarray:
        nonlocal states
        before = np.concatenate([system.states[:, :1], states[:, :-1]], axis=1)
        states = states.copy()
        states[b, t] = system.step_at(b, t, before[b, t])
        return states

    return after


def label_context(model: Any, seqs: Sequences) -> Context:
    """As `density_context` for a network of labels that runs forwards: −log p of a label given the last k steps, its own among them.

    A label of a sequence is read from the sequence's last k steps.
    """
    known, _ = model._known(seqs)
    if model.per == "sequence":
        first, last, kept = seqs.offsets[:-1], seqs.offsets[1:] - 1, np.flatnonzero(known)[:TARGETS]
    else:
        first, last = np.repeat(seqs.offsets[:-1], seqs.lengths), np.arange(seqs.rows)
        rows = targets(seqs.lengths, seqs.offsets, seqs.rows)
        rows = rows[known[rows]]
        kept = (
            rows[np.unique(np.linspace(0, len(rows) - 1, min(TARGETS, len(rows))).astype(int))] if len(rows) else rows
        )

    def context(k: int) -> np.ndarray | None:
        if k == 0 or not len(kept):
            return None
        if k < 0:
            return -np.asarray(model.log_prob(seqs, per_step=True))[kept]
        cut = windows(seqs, np.maximum(last[kept] - k + 1, first[kept]), last[kept])
        if model.per == "sequence":
            assert seqs.labels is not None
            return -np.asarray(model.log_prob(cut.replace(labels=seqs.labels[kept])))
        return -np.asarray(model.log_prob(cut, per_step=True))[cut.offsets[1:] - 1]

    return context


def module_context(system: System, rerun: Callable[[np.ndarray], np.ndarray | None], lengths: np.ndarray) -> Context:
    """As `density_context`, from a function of what the layer puts out (B, T, ·) that gives losses (B, T).

    The windows of one length after the other are computed, each a step longer than the last.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = targets(lengths, offsets)
    own = inside(lengths)
    after, found = truncated(system), list[np.ndarray | None]()

    def picked(states: np.ndarray) -> np.ndarray | None:
        losses = rerun(system.readout(states))
        return None if losses is None else losses[:, : own.shape[1]][own][rows]

    def context(k: int) -> np.ndarray | None:
        if k < 0:
            return picked(system.states[:, 1:])
        while len(found) < k:
            found.append(picked(after()))
        return None if k == 0 else found[k - 1]

    return context
