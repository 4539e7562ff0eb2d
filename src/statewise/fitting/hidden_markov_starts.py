"""Where EM for a hidden Markov model begins: a guess of the states, made into parameters by one M step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from statewise._core.errors import InputError
from statewise.emissions.base import Emission
from statewise.emissions.rows import Rows
from statewise.fitting.hidden_markov import HiddenMarkov
from statewise.fitting.kmeans import kmeans, nearest
from statewise.inference.discrete import Chain

_ROWS = 20_000  # rows that clusters are sought in: more would cost time and give the same ones
_LLOYD = 30
_REACH = 5  # rows to either side that a stretch takes in


def start(
    pooled: Emission,
    rows: Rows,
    given: Mapping[str, np.ndarray],
    kind: str,
    number: int,
    rng: np.random.Generator,
    allowed: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> HiddenMarkov:
    """A model in which each row belongs to the nearest of K centres, by one M step from those labels.

    Each transition between labels is counted once more than it occurs, so that none is ruled out. States come in the
    order of their means.

    Args:
        pooled: the emission family with one law for all data; says K.
        rows: what the model is to be fitted to.
        given: parameters that replace what is found here; a given first parameter, such as the means, says the centres.
        kind: 'kmeans' or 'random'. With 'kmeans', start 0 clusters the rows; start 1 the level and spread of the
            stretch around each row, which finds regimes that differ in volatility alone; later ones take turns with
            k-means++ seeds as centres. With 'random' the centres are rows drawn at random. Where the rows take few
            distinct values, every start looks at stretches.
        number: of the start, from 0.
        rng: for the centres.
        allowed: (K, K) the transitions that the chain can make; all unless given. Where a state cannot be returned to,
            states are stretches of each sequence in turn, and it begins in the first.
        known: (rows,) the state of each row, −1 where it is not known.
    """
    laws = pooled.replaced({name: given[name] for name in pooled.parameter_names if name in given})
    located = pooled.parameter_names[0] in given
    forward_only = allowed is not None and pooled.states > 1 and not np.tril(allowed, -1).any()
    if forward_only and not located:
        labels = _in_turn(rows, pooled.states, number, rng)
    else:
        labels = _labels(pooled, laws if located else None, rows, kind, number, rng)
    labels = labels if known is None else np.where(known >= 0, known, labels)
    weights = (labels[:, None] == np.arange(pooled.states)).astype(np.float64)
    found = HiddenMarkov(_chain(labels, rows.lengths, pooled.states), pooled.m_step(rows, weights))
    found = found if located or forward_only or known is not None else found.sorted()
    chain = found.chain
    assert isinstance(chain, Chain)
    chain = chain if allowed is None else _within(chain, allowed, forward_only)
    chain = Chain(given.get("initial_probs", chain.initial), given.get("transition_probs", chain.transition))
    kept = {name: value for name, value in laws.parameters.items() if name in given}
    return HiddenMarkov(chain, found.emission.replaced(kept))


def _in_turn(rows: Rows, states: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """(rows,) states 0 … K − 1 one after the other in each sequence: of equal length at first, then cut at random."""
    labels = np.empty(len(rows), dtype=np.int64)
    first = 0
    for length in rows.lengths:
        cuts = np.arange(1, states) / states if number == 0 else np.sort(rng.random(states - 1))
        labels[first : first + length] = np.searchsorted(cuts, (np.arange(length) + 0.5) / length)
        first += length
    return np.where(rows.seen.any(axis=1), labels, -1)


def _within(chain: Chain, allowed: np.ndarray, forward_only: bool) -> Chain:
    """The chain without the transitions that are not allowed."""
    transition = np.where(allowed, chain.transition, 0.0)
    initial = np.eye(chain.states)[0] if forward_only else chain.initial
    return Chain(initial, transition / transition.sum(axis=1, keepdims=True))


def _labels(
    pooled: Emission, located: Emission | None, rows: Rows, kind: str, number: int, rng: np.random.Generator
) -> np.ndarray:
    """(rows,) the state that a start puts each row in; −1 where nothing was seen."""
    seen = rows.seen.any(axis=1)
    if located is not None:
        return np.where(seen, located.log_likelihood(rows).argmax(axis=1), -1)
    points = pooled.points(rows)
    if _takes_few_values(points[seen], pooled.states):
        points = _stretches(points, rows.lengths) + 1e-6 * rng.standard_normal((len(points), 2 * points.shape[1]))
    elif kind == "kmeans" and number % 2:
        points = _stretches(points, rows.lengths)
    few = np.flatnonzero(seen)
    few = few if len(few) <= _ROWS else rng.choice(few, _ROWS, replace=False)
    rounds = _LLOYD if kind == "kmeans" and number < 2 else 0
    centres = kmeans(points[few], pooled.states, rng, rounds=rounds, plus_plus=kind == "kmeans")
    return np.where(seen, nearest(points, centres), -1)


def _takes_few_values(points: np.ndarray, states: int) -> bool:
    """Whether the points are so few distinct ones that clusters of them say little: symbols, flags, low counts."""
    return len(points) > 4 * states and len(np.unique(points[:_ROWS], axis=0)) < 4 * states


def _stretches(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(rows, 2p) mean of the rows around each row, and log mean distance from it; standardised columns."""
    level = _moving_mean(points, lengths)
    spread = np.log(_moving_mean(np.abs(points - level), lengths) + 1e-3)
    both = np.concatenate([level, spread], axis=1)
    both -= both.mean(axis=0)
    sd = both.std(axis=0)
    return both / np.where(sd > 0, sd, 1.0)


def _moving_mean(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean over the rows within reach of each row in its own sequence."""
    ends = np.repeat(np.cumsum(lengths), lengths)
    here = np.arange(len(points))
    first = np.maximum(here - _REACH, ends - np.repeat(lengths, lengths))
    last = np.minimum(here + _REACH + 1, ends)
    sums = np.concatenate([np.zeros((1, points.shape[1])), np.cumsum(points, axis=0)])
    return (sums[last] - sums[first]) / (last - first)[:, None]


def _chain(labels: np.ndarray, lengths: np.ndarray, states: int) -> Chain:
    """Shares of the labels' first states and transitions, every count raised by one; label −1 is unknown."""
    firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    known = (labels[:-1] >= 0) & (labels[1:] >= 0)
    known[firsts[1:] - 1] = False
    counts = np.ones((states, states))
    np.add.at(counts, (labels[:-1][known], labels[1:][known]), 1.0)
    first_labels = labels[firsts]
    starts = 1.0 + np.bincount(first_labels[first_labels >= 0], minlength=states)
    return Chain(starts / starts.sum(), counts / counts.sum(axis=1, keepdims=True))


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
