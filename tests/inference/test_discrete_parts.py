"""A long sequence in parts is the same as in one pass; where a model does not forget, it is done again."""

from __future__ import annotations

import numpy as np
import pytest

from statewise.inference import discrete, discrete_parts
from statewise.inference.discrete import Chain


def whole(monkeypatch, chain, table):
    """The results of one pass."""
    with monkeypatch.context() as patched:
        patched.setattr(discrete, "_in_parts", lambda *_: False)
        return discrete.filter(chain, table, np.array([len(table)])), discrete.smooth(
            chain, table, np.array([len(table)])
        )


def case(kind, rows=50_000, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "never forgets":  # nothing is learnt, and nothing mixes
        return Chain(np.array([0.3, 0.7]), np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]])), np.zeros((rows, 2))
    states = {"few": 3, "many": 11, "slow": 2}[kind]
    P = rng.dirichlet(np.ones(states), size=states)
    if kind == "slow":  # half-life of thousands of rows
        P = np.array([[0.9999, 0.0001], [0.0002, 0.9998]])
    table = rng.normal(size=(rows, states)) * (1e-3 if kind == "slow" else 1.0)
    return Chain(rng.dirichlet(np.ones(states)), P), table


@pytest.mark.parametrize("kind", ["few", "many", "slow", "never forgets"])
def test_parts_give_what_one_pass_gives(kind, monkeypatch):
    chain, table = case(kind)
    lengths = np.array([len(table)])
    filtered, smoothed = whole(monkeypatch, chain, table)
    found, back = discrete.filter(chain, table, lengths), discrete.smooth(chain, table, lengths)
    # 1e-13 is allowed at each cut; the rest is rounding
    np.testing.assert_allclose(found.probs, filtered.probs, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(found.predicted, filtered.predicted, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(found.steps, filtered.steps, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(back.probs, smoothed.probs, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(back.counts, smoothed.counts, rtol=1e-10)
    np.testing.assert_allclose(back.starts, smoothed.starts, rtol=1e-10)
    assert discrete.log_prob_steps(chain, table, lengths).sum() == pytest.approx(filtered.steps.sum(), rel=1e-13)


def test_parts_are_used_where_they_help_and_refused_where_they_cannot_agree():
    chain, table = case("few")
    filtered = discrete.filter(chain, table, np.array([len(table)]))
    assert len(discrete_parts.cuts(len(table))) > 2
    spare = np.empty_like(table)
    assert discrete_parts.backward(chain, filtered.probs, filtered.predicted, spare, 1.0) is not None
    chain, table = case("never forgets")
    filtered = discrete.filter(chain, table, np.array([len(table)]))
    spoilt = filtered.probs.copy()
    spoilt[-1] = [0.999, 0.001]
    assert discrete_parts.backward(chain, spoilt, filtered.predicted, spare[:, :2].copy(), 1.0) is None


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
