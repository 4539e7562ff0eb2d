"""Where EM for a hidden Markov model begins: a guess of the states, made into parameters by one M step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from statewise._core.errors import InputError
from statewise.emissions.base import Emission
from statewise.fitting.hidden_markov import HiddenMarkov
from statewise.fitting.kmeans import kmeans, nearest
from statewise.inference.discrete import Chain

_ROWS = 20_000  # rows that clusters are sought in: more would cost time and give the same ones


def start(
    pooled: Emission,
    values: np.ndarray,
    lengths: np.ndarray,
    given: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    *,
    rounds: int,
    plus_plus: bool,
) -> HiddenMarkov:
    """A model in which each row belongs to the nearest of K centres.

    Distances are between standardised columns, a missing entry counting as the mean. Each transition between the labels
    is counted once more than it occurs, so that none is ruled out.

    Args:
        pooled: the emission family with one law for all data; says K.
        values, lengths: packed rows.
        given: parameters that replace what is found here; given means are the centres.
        rng: for the centres.
        rounds, plus_plus: see `kmeans`.
    """
    seen = ~np.isnan(values).all(axis=1)
    centre, unit = pooled.means[0], np.sqrt(pooled.variances[0])
    points = np.nan_to_num((values[seen] - centre) / unit)
    laws = pooled.replaced({name: given[name] for name in pooled.parameter_names if name in given})
    if "means" in given:
        centres = (laws.means - centre) / unit
    else:
        few = points if len(points) <= _ROWS else points[rng.choice(len(points), _ROWS, replace=False)]
        centres = kmeans(few, pooled.states, rng, rounds=rounds, plus_plus=plus_plus)
        centres = centres[np.lexsort(centres.T[::-1])]
    labels = np.full(len(values), -1)
    labels[seen] = nearest(points, centres)
    weights = (labels[:, None] == np.arange(pooled.states)).astype(np.float64)
    found = pooled.m_step(values, weights)
    kept = {name: value for name, value in laws.parameters.items() if name in given}
    return HiddenMarkov(_chain(labels, lengths, pooled.states, given), found.replaced(kept))


def _chain(labels: np.ndarray, lengths: np.ndarray, states: int, given: Mapping[str, np.ndarray]) -> Chain:
    """Shares of the labels' first states and transitions, every count raised by one; label −1 is unknown."""
    firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    known = (labels[:-1] >= 0) & (labels[1:] >= 0)
    known[firsts[1:] - 1] = False
    counts = np.ones((states, states))
    np.add.at(counts, (labels[:-1][known], labels[1:][known]), 1.0)
    first_labels = labels[firsts]
    starts = 1.0 + np.bincount(first_labels[first_labels >= 0], minlength=states)
    return Chain(
        given.get("initial_probs", starts / starts.sum()),
        given.get("transition_probs", counts / counts.sum(axis=1, keepdims=True)),
    )


def require_distinct(values: np.ndarray, states: int) -> None:
    """Raise `InputError` unless the data have as many distinct rows as there are states."""
    distinct: set[bytes] = set()
    for row in values[~np.isnan(values).all(axis=1)]:
        distinct.add(np.where(np.isnan(row), np.nan, row + 0.0).tobytes())
        if len(distinct) >= states:
            return
    raise InputError(
        f"`states` is {states} but the data have only {len(distinct)} distinct rows; pass {max(len(distinct), 1)} or fewer"
    )
