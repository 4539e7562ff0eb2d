"""Sequences side by side, long ones in parts, are the same as one after the other; where a model does not forget, that is what happens."""

from __future__ import annotations

import numpy as np
import pytest

from statewise._core.errors import InputError
from statewise.emissions.table import Table
from statewise.inference import discrete, discrete_lanes
from statewise.inference.discrete import Chain
from statewise.inference.discrete_lanes import Lanes, Stretches


def whole(monkeypatch, chain, table, lengths):
    """The results of one pass."""
    with monkeypatch.context() as patched:
        patched.setattr(Lanes, "are_worth_it", False)
        return discrete.filter(chain, table, lengths), discrete.smooth(chain, table, lengths)


def case(kind, rows=50_000, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "never forgets":  # nothing is learnt, and nothing mixes
        return Chain(np.array([0.3, 0.7]), np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]])), np.zeros((rows, 2))
    states = {"one": 1, "few": 3, "many": 11, "slow": 2, "banded": 5}[kind]
    P = rng.dirichlet(np.ones(states), size=states)
    if kind == "slow":  # half-life of thousands of rows
        P = np.array([[0.9999, 0.0001], [0.0002, 0.9998]])
    if kind == "banded":
        P = P * (np.abs(np.subtract.outer(np.arange(states), np.arange(states))) < 2)
        P /= P.sum(axis=1, keepdims=True)
    table = rng.normal(size=(rows, states)) * (1e-3 if kind == "slow" else 1.0)
    return Chain(rng.dirichlet(np.ones(states)), P), table


def ragged(rows, seed=3):
    """Lengths from 1 to a few thousand that sum to `rows`."""
    rng, lengths = np.random.default_rng(seed), []
    while sum(lengths) < rows:
        lengths.append(min(int(np.exp(rng.uniform(0, 9.5))), rows - sum(lengths)))
    return np.array(lengths)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", ["one", "few", "many", "banded", "slow", "never forgets"])
def test_lanes_give_what_one_pass_gives(kind, several, monkeypatch):
    chain, table = case(kind)
    lengths = ragged(len(table)) if several else np.array([len(table)])
    filtered, smoothed = whole(monkeypatch, chain, table, lengths)
    found, back = discrete.filter(chain, table, lengths), discrete.smooth(chain, table, lengths)
    # 1e-13 is allowed at each cut; the rest is rounding
    np.testing.assert_allclose(found.probs, filtered.probs, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(found.predicted, filtered.predicted, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(found.steps, filtered.steps, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(back.log_probs, smoothed.log_probs, rtol=1e-13)
    np.testing.assert_allclose(back.probs, smoothed.probs, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(back.counts, smoothed.counts, rtol=1e-10)
    np.testing.assert_allclose(back.starts, smoothed.starts, rtol=1e-10)
    np.testing.assert_array_equal(discrete.log_prob_steps(chain, table, lengths), found.steps)
    np.testing.assert_array_equal(discrete.log_prob(chain, table, lengths), back.log_probs)


@pytest.mark.parametrize("kind", ["few", "banded", "never forgets"])
def test_lanes_are_used_where_they_help_and_refused_where_they_cannot_agree(kind):
    chain, table = case(kind)
    lanes = Lanes(chain, table, np.array([0, len(table)]), kind == "banded")
    assert lanes.are_worth_it
    found = lanes.smooth(np.empty(table.shape))
    assert (found is None) == (kind == "never forgets")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", ["one", "few", "many", "banded", "slow", "never forgets"])
def test_lanes_find_the_path_that_one_pass_finds(kind, several, monkeypatch):
    chain, table = case(kind)
    lengths = ragged(len(table)) if several else np.array([len(table)])
    found = discrete.viterbi(chain, table, lengths)
    monkeypatch.setattr(Lanes, "are_worth_it", False)
    expected = discrete.viterbi(chain, table, lengths)
    np.testing.assert_array_equal(found.states, expected.states)
    np.testing.assert_allclose(found.log_prob, expected.log_prob, rtol=1e-13)


@pytest.mark.parametrize("several", [False, True])
def test_a_table_of_distinct_rows_is_the_table_that_it_stands_for(several):
    """Symbols with a likelihood of 0 in some states, in lanes and one after the other."""
    chain, _ = case("few")
    rng = np.random.default_rng(2)
    distinct = np.log(rng.dirichlet(np.ones(3), size=6))
    distinct[:3][np.eye(3, dtype=bool)] = -np.inf
    table = Table(distinct, rng.integers(0, 6, 40_000))
    for lengths in (np.array([10, 90]), ragged(40_000) if several else np.array([40_000])):
        part = Table(distinct, table.which[: lengths.sum()])
        first, second = discrete.smooth(chain, part, lengths), discrete.smooth(chain, part.spread(), lengths)
        np.testing.assert_allclose(first.log_probs, second.log_probs, rtol=1e-13)
        np.testing.assert_allclose(first.probs, second.probs, rtol=1e-12)
        np.testing.assert_allclose(first.counts, second.counts, rtol=1e-12)
        paths = [discrete.viterbi(chain, each, lengths) for each in (part, part.spread())]
        np.testing.assert_array_equal(paths[0].states, paths[1].states)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_likelihood_is_refused_in_lanes_too(bad):
    chain, table = case("few")
    table[30_000, 1] = bad
    alike = Table(table[[0, 30_000]], np.arange(len(table)) % 2)
    for verb in (discrete.log_prob, discrete.filter, discrete.smooth, discrete.viterbi):
        for given in (table, alike):
            with pytest.raises(InputError, match="NaN"):
                verb(chain, given, np.array([len(table)]))


def test_states_that_doubles_would_lose_are_left_to_log_space():
    """Left to right: the first states vanish, then only they can have made what follows; their probability is 1 in the end."""
    chain = Chain(np.array([1.0, 0.0]), np.array([[0.5, 0.5], [0.0, 1.0]]))
    table = np.zeros((12_000, 2))
    table[:6000, 0], table[6000:, 1] = -1.0, -np.inf
    found = discrete.smooth(chain, table, np.array([4000, 4000, 4000]))
    assert found.impossible.tolist() == []
    np.testing.assert_array_equal(found.probs[4000:8000, 0], 1.0)


def test_ties_go_to_the_lower_state_in_lanes_too():
    chain = Chain(np.full(3, 1 / 3), np.full((3, 3), 1 / 3))
    path = discrete.viterbi(chain, np.zeros((40_000, 3)), np.array([40_000]))
    assert not path.states.any()


def test_an_impossible_row_leaves_the_best_path_to_the_kernel_that_says_so():
    chain, table = case("few")
    table[40_000] = -np.inf
    assert discrete.viterbi(chain, table, np.array([len(table)])).impossible.tolist() == [0]


def test_a_second_round_is_enough_where_the_warm_up_was_not(monkeypatch):
    """With a warm-up of one row, parts begin with a wrong belief, and meet the right one once they are done again."""
    chain, table = case("few")
    lengths = np.array([len(table)])
    usual = discrete.smooth(chain, table, lengths)
    monkeypatch.setattr(discrete_lanes, "_WARM", 1)
    rounds = []
    monkeypatch.setattr(
        Lanes, "_meet", lambda self, laws, meet=Lanes._meet: rounds.append(meet(self, laws)) or rounds[-1]
    )
    found = discrete.smooth(chain, table, lengths)
    assert rounds == [False, True]
    np.testing.assert_allclose(found.probs, usual.probs, rtol=1e-11)
    np.testing.assert_allclose(found.counts, usual.counts, rtol=1e-11)


def test_stretches_cover_every_row_once_longest_first():
    offsets = np.concatenate([[0], np.cumsum(ragged(60_000))])
    parts = Stretches.of(offsets)
    rows = np.concatenate([np.arange(a, a + n) for a, n in zip(parts.first, parts.count, strict=True)])
    np.testing.assert_array_equal(np.sort(rows), np.arange(60_000))
    assert (np.diff(parts.count) <= 0).all()
    assert set(parts.first[parts.begins]) == set(offsets[:-1])
    assert set((parts.first + parts.count)[parts.final]) == set(offsets[1:])
    np.testing.assert_array_equal(parts.first[parts.after[parts.cut]], (parts.first + parts.count)[parts.cut])


def test_an_impossible_row_in_a_long_sequence_is_told():
    chain, table = case("few")
    table[40_000] = -np.inf
    found = discrete.filter(chain, table, np.array([len(table)]))
    assert found.impossible.tolist() == [0]
    assert found.steps[40_000] == -np.inf
    assert np.isfinite(found.probs).all()


@pytest.mark.parametrize("rows", [50_000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
def test_long_sequences_of_a_sticky_chain_agree_with_extended_precision(rows):
    """Self-transition .999, against the same recursion in 80-bit numbers."""
    rng = np.random.default_rng(1)
    chain = Chain(np.array([0.5, 0.5]), np.array([[0.999, 0.001], [0.001, 0.999]]))
    table = rng.normal(size=(rows, 2))
    (stay, _), (leave, _) = chain.transition.astype(np.longdouble)
    likelihood, total = np.exp(table.astype(np.longdouble)), np.longdouble(0)
    f0 = f1 = np.longdouble(0.5)
    for b0, b1 in likelihood:
        a0, a1 = f0 * b0, f1 * b1
        s = a0 + a1
        total += np.log(s)
        f0, f1 = (a0 * stay + a1 * leave) / s, (a0 * leave + a1 * stay) / s
    found = discrete.log_prob_steps(chain, table, np.array([rows])).sum()
    assert found == pytest.approx(float(total), rel=1e-12)
