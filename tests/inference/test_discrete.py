"""`inference/discrete.py`: enumeration of all paths, textbook numbers, closed forms, and invariances."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import hmm as reference

from statewise._core.errors import InputError, NumericalError
from statewise._core.outcome import Outcome
from statewise.inference import discrete
from statewise.inference.discrete import Chain

TOLERANCE = {"rtol": 1e-11, "atol": 1e-13}  # float64 sums over short sequences


def random_case(states, lengths, seed):
    rng = np.random.default_rng(seed)
    chain = Chain(rng.dirichlet(np.ones(states)), rng.dirichlet(np.ones(states), states))
    return chain, rng.normal(size=(sum(lengths), states)) * 2, np.array(lengths)


# --- enumeration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("states", "length"), [(1, 4), (2, 1), (2, 9), (3, 7), (4, 5)])
def test_everything_against_the_enumeration_of_all_paths(states, length):
    """Log-likelihood, smoothed and filtered probabilities, counts and best path from all K^T joint probabilities."""
    chain, table, lengths = random_case(states, [length], seed=states * 10 + length)
    paths, joint = reference.enumerate_paths(chain.initial, chain.transition, table)
    total = np.logaddexp.reduce(joint)
    share = np.exp(joint - total)
    smooth = discrete.smooth(chain, table, lengths)
    assert smooth.log_prob == pytest.approx(total, rel=1e-12)
    marginal = np.array([[share[paths[:, t] == k].sum() for k in range(states)] for t in range(length)])
    np.testing.assert_allclose(smooth.probs, marginal, **TOLERANCE)
    np.testing.assert_allclose(smooth.starts, marginal[0], **TOLERANCE)
    counts = np.zeros((states, states))
    for path, weight in zip(paths, share, strict=True):
        np.add.at(counts, (path[:-1], path[1:]), weight)
    np.testing.assert_allclose(smooth.counts, counts, **TOLERANCE)
    best = discrete.viterbi(chain, table, lengths)
    assert np.array_equal(best.states, paths[joint.argmax()])
    assert best.log_prob[0] == pytest.approx(joint.max(), rel=1e-13)
    for t in range(length):
        prefix, weights = reference.enumerate_paths(chain.initial, chain.transition, table[: t + 1])
        law = np.array(
            [np.exp(weights[prefix[:, -1] == k] - np.logaddexp.reduce(weights)).sum() for k in range(states)]
        )
        np.testing.assert_allclose(discrete.filter(chain, table, lengths).probs[t], law, **TOLERANCE)


# --- textbook numbers -------------------------------------------------------------------------------------------------


def test_the_doctor_example():
    """The healthy/fever example of many lecture notes, observing symbols 0 1 2: best path probability .01344 = .4 · .6 ·
    .4 · .4 · .7 · .5; by hand, α = (.06, .24), (.0552, .0486), (.02904, .004572), so the likelihood is .033612."""
    chain = Chain(np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.4, 0.6]]))
    emission = np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]])
    table = np.log(emission[:, [0, 1, 2]].T)
    best = discrete.viterbi(chain, table, np.array([3]))
    assert np.exp(best.log_prob[0]) == pytest.approx(0.01344, rel=1e-12)
    assert best.states.tolist() == [1, 0, 0]
    assert np.exp(discrete.smooth(chain, table, np.array([3])).log_prob) == pytest.approx(0.033612, rel=1e-12)


def test_the_umbrella_world():
    """Russell & Norvig, *Artificial Intelligence*, §15.2: filtered .818, .883 and smoothed .883 on two umbrella days; five
    days with the third dry: the sequences below, and the best path rain, rain, sun, rain, rain (their fig. 15.5)."""
    chain = Chain(np.array([0.5, 0.5]), np.array([[0.7, 0.3], [0.3, 0.7]]))
    umbrella, none = np.log([0.9, 0.2]), np.log([0.1, 0.8])
    two = np.array([umbrella, umbrella])
    np.testing.assert_allclose(discrete.filter(chain, two, np.array([2])).probs[:, 0], [0.818, 0.883], atol=5e-4)
    np.testing.assert_allclose(discrete.smooth(chain, two, np.array([2])).probs[:, 0], [0.883, 0.883], atol=5e-4)
    five = np.array([umbrella, umbrella, none, umbrella, umbrella])
    filtered = discrete.filter(chain, five, np.array([5])).probs[:, 0]
    np.testing.assert_allclose(filtered, [0.8182, 0.8834, 0.1907, 0.7308, 0.8673], atol=5e-5)
    smoothed = discrete.smooth(chain, five, np.array([5])).probs[:, 0]
    np.testing.assert_allclose(smoothed, [0.8673, 0.8204, 0.3075, 0.8204, 0.8673], atol=5e-5)
    assert discrete.viterbi(chain, five, np.array([5])).states.tolist() == [0, 0, 1, 0, 0]


# --- closed forms -----------------------------------------------------------------------------------------------------


def symmetric(eps):
    return Chain(np.array([0.5, 0.5]), np.array([[1 - eps, eps], [eps, 1 - eps]]))


def log_odds_recursion(eps, ratio):
    """L' = 2 artanh((1 − 2ε) tanh(L/2)) + LLR(y), from even odds; returns the filtered log odds."""
    odds, found = 0.0, []
    for t, llr in enumerate(ratio):
        odds = (2 * np.arctanh((1 - 2 * eps) * np.tanh(odds / 2)) if t else 0.0) + llr
        found.append(odds)
    return np.array(found)


def test_two_symmetric_states_are_a_scalar_recursion():
    ratio = np.random.default_rng(0).normal(size=200) * 3
    table = np.column_stack([ratio, np.zeros(200)])
    probs = discrete.filter(symmetric(0.1), table, np.array([200])).probs
    np.testing.assert_allclose(
        np.log(probs[:, 0] / probs[:, 1]), log_odds_recursion(0.1, ratio), rtol=1e-10, atol=1e-12
    )


def test_the_predicted_log_odds_saturate():
    """However strong the evidence, one step ahead the odds are at most (1 − ε)/ε: ln 9 = 2.197225 for ε = .1."""
    table = np.column_stack([np.full(50, 40.0), np.zeros(50)])
    predicted = discrete.filter(symmetric(0.1), table, np.array([50])).predicted
    assert np.log(predicted[-1, 0] / predicted[-1, 1]) == pytest.approx(2.197225, abs=5e-7)


def test_the_forgetting_rate_is_the_mean_slope_of_the_scalar_recursion():
    """Slope of 2 artanh(c tanh(L/2)) is c sech²(L/2) / (1 − c² tanh²(L/2)), c = 1 − 2ε; the rate is its geometric mean."""
    eps, ratio = 0.1, np.random.default_rng(1).normal(size=300) * 2
    table = np.column_stack([ratio, np.zeros(300)])
    odds, c = log_odds_recursion(eps, ratio)[:-1], 1 - 2 * eps
    slopes = c / np.cosh(odds / 2) ** 2 / (1 - (c * np.tanh(odds / 2)) ** 2)
    rate = discrete.forgetting_rate(symmetric(eps), table, np.array([300]))
    assert rate == pytest.approx(np.exp(np.log(slopes).mean()), rel=1e-9)
    assert rate < c


def test_unobserved_beliefs_forget_at_the_second_eigenvalue():
    """With nothing seen the belief is the chain itself; one leading real λ₂, so the slope is λ₂ after a short transient."""
    chain, _, _ = random_case(4, [1], 3)
    moduli = np.sort(np.abs(np.linalg.eigvals(chain.transition)))
    rate = discrete.forgetting_rate(chain, np.zeros((4000, 4)), np.array([4000]))
    assert discrete.mixing_rate(chain) == pytest.approx(moduli[-2], rel=1e-12)
    assert rate == pytest.approx(moduli[-2], rel=5e-3)


def test_the_forgetting_rate_is_the_gap_of_two_lyapunov_exponents():
    """Theory: λ₁ of b ∘ Pᵀ from π in the 1-norm is the log-likelihood per step; the rate is exp(λ₂ − λ₁). Oracle: λ₁ + λ₂
    from the growth of areas, by QR of two vectors pushed along the data."""
    chain, table, lengths = random_case(3, [3000], 4)
    Q, sums = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 2)))[0], np.zeros(2)
    for t in range(1, 3000):
        Q, R = np.linalg.qr(np.exp(table[t])[:, None] * (chain.transition.T @ Q))
        sums += np.log(np.abs(np.diag(R)))
    steps = discrete.log_prob_steps(chain, table, lengths)
    exponents = sums / 2999
    assert exponents[0] == pytest.approx(steps[1:].mean(), abs=1e-3)
    assert np.log(discrete.forgetting_rate(chain, table, lengths)) == pytest.approx(
        exponents[1] - exponents[0], abs=2e-3
    )


def test_rates_at_the_edges():
    equal_rows = Chain(np.array([0.3, 0.7]), np.array([[0.3, 0.7], [0.3, 0.7]]))
    table = np.random.default_rng(0).normal(size=(50, 2))
    assert discrete.mixing_rate(equal_rows) == 0.0
    assert discrete.forgetting_rate(equal_rows, table, np.array([50])) == 0.0
    assert discrete.mixing_rate(Chain(np.array([0.5, 0.5]), np.eye(2))) == 1.0
    assert discrete.mixing_rate(Chain(np.ones(1), np.ones((1, 1)))) == 0.0
    assert discrete.forgetting_rate(Chain(np.ones(1), np.ones((1, 1))), table[:, :1], np.array([50])) == 0.0
    assert np.isnan(discrete.forgetting_rate(equal_rows, table, np.ones(50, dtype=int)))


def test_missing_rows_leave_the_belief_to_the_chain():
    """Log-likelihood 0, and filtered = predicted = Pᵀ of the belief before."""
    chain, table, lengths = random_case(3, [10], 5)
    table[4:7] = 0.0
    done = discrete.filter(chain, table, lengths)
    np.testing.assert_allclose(done.steps[4:7], 0.0, atol=1e-14)
    np.testing.assert_allclose(done.probs[6], done.probs[3] @ np.linalg.matrix_power(chain.transition, 3), **TOLERANCE)


def test_propagate_is_a_power_of_the_transition():
    chain, _, _ = random_case(3, [1], 6)
    belief = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    ahead = discrete.propagate(chain, belief, 5)
    np.testing.assert_allclose(ahead[:, 4], belief @ np.linalg.matrix_power(chain.transition, 5), **TOLERANCE)
    assert np.array_equal(belief, [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])


# --- invariances ------------------------------------------------------------------------------------------------------

cases = st.builds(
    random_case, st.integers(1, 5), st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 10**6)
)


@given(cases, st.randoms(use_true_random=False))
def test_relabelling_the_states_relabels_the_answers(drawn, random):
    chain, table, lengths = drawn
    order = np.array(random.sample(range(chain.states), chain.states))
    other = Chain(chain.initial[order], chain.transition[np.ix_(order, order)])
    first, second = discrete.smooth(chain, table, lengths), discrete.smooth(other, table[:, order], lengths)
    np.testing.assert_allclose(second.log_probs, first.log_probs, **TOLERANCE)
    np.testing.assert_allclose(second.probs, first.probs[:, order], **TOLERANCE)
    np.testing.assert_allclose(second.counts, first.counts[np.ix_(order, order)], **TOLERANCE)
    paths = discrete.viterbi(chain, table, lengths), discrete.viterbi(other, table[:, order], lengths)
    np.testing.assert_allclose(paths[1].log_prob, paths[0].log_prob, rtol=1e-13)


@given(cases)
def test_time_reversal_reverses_the_answers(drawn):
    """A stationary chain run backwards has transitions π[j] P[j, i] / π[i]; likelihood and smoothing must not notice."""
    chain, table, lengths = drawn
    values, vectors = np.linalg.eig(chain.transition.T)
    stationary = np.abs(np.real(vectors[:, np.argmin(np.abs(values - 1))]))
    stationary /= stationary.sum()
    forward = Chain(stationary, chain.transition)
    backward = Chain(stationary, chain.transition.T * stationary / stationary[:, None])
    ends = np.cumsum(lengths)
    turn = np.concatenate([np.arange(end - 1, end - 1 - length, -1) for end, length in zip(ends, lengths, strict=True)])
    first, second = discrete.smooth(forward, table, lengths), discrete.smooth(backward, table[turn], lengths)
    assert second.log_prob == pytest.approx(first.log_prob, rel=1e-9)
    np.testing.assert_allclose(second.probs, first.probs[turn], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(second.counts, first.counts.T, rtol=1e-7, atol=1e-9)


@given(cases, st.floats(-1e6, 1e6))
def test_a_constant_added_to_the_table_only_shifts_the_likelihood(drawn, shift):
    chain, table, lengths = drawn
    first, second = discrete.smooth(chain, table, lengths), discrete.smooth(chain, table + shift, lengths)
    np.testing.assert_allclose(second.log_probs, first.log_probs + shift * lengths, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(second.probs, first.probs, rtol=1e-6, atol=1e-8)


def test_sequences_together_and_alone_are_the_same():
    chain, table, lengths = random_case(3, [5, 1, 400, 7, 900, 2000], 7)
    together = discrete.smooth(chain, table, lengths)
    path = discrete.viterbi(chain, table, lengths)
    counts, offsets = np.zeros((3, 3)), np.concatenate([[0], np.cumsum(lengths)])
    for n, (a, b) in enumerate(pairwise(offsets)):
        alone = discrete.smooth(chain, table[a:b], lengths[n : n + 1])
        # the same recursion, rounded in another order: a few units in the last place a row, most of which is forgotten
        np.testing.assert_allclose(alone.probs, together.probs[a:b], rtol=1e-13)
        np.testing.assert_allclose(alone.log_probs, together.log_probs[n : n + 1], rtol=1e-13)
        assert np.array_equal(discrete.viterbi(chain, table[a:b], lengths[n : n + 1]).states, path.states[a:b])
        counts += alone.counts
    np.testing.assert_allclose(together.counts, counts, rtol=1e-12)


def test_threads_do_not_change_a_digit(monkeypatch):
    chain, table, lengths = random_case(8, [9000, 7000, 9000, 5000], 8)
    answers = []
    for threads in ("1", "3"):
        monkeypatch.setenv("STATEWISE_THREADS", threads)
        done = discrete.smooth(chain, table, lengths)
        answers.append((done.log_probs, done.probs, done.counts))
    for one, three in zip(*answers, strict=True):
        assert np.array_equal(one, three)


def test_a_prefix_does_not_know_the_future():
    chain, table, lengths = random_case(4, [30], 9)
    whole, part = discrete.filter(chain, table, lengths), discrete.filter(chain, table[:12], np.array([12]))
    assert np.array_equal(whole.probs[:12], part.probs)
    assert np.array_equal(whole.steps[:12], part.steps)


# --- long and hard ----------------------------------------------------------------------------------------------------


def test_long_sequences_keep_their_digits():
    """10⁵ rows with self-transition .999: log-likelihood and smoothed rows against the log-space twin (pairwise sums)."""
    rng = np.random.default_rng(10)
    chain = symmetric(0.001)
    table = rng.normal(size=(100_000, 2))
    done = discrete.smooth(chain, table, np.array([100_000]))
    odds = log_odds_recursion(0.001, table[:, 0] - table[:, 1])
    ahead = np.concatenate([[0.0], 2 * np.arctanh(0.998 * np.tanh(odds[:-1] / 2))])
    p = 1 / (1 + np.exp(-ahead))
    steps = np.log(p * np.exp(table[:, 0]) + (1 - p) * np.exp(table[:, 1]))
    assert done.log_prob == pytest.approx(steps.sum(), rel=1e-10)
    np.testing.assert_allclose(done.probs.sum(axis=1), 1.0, atol=1e-14)
    np.testing.assert_allclose(done.counts.sum(), 99_999, rtol=1e-12)


def test_sampled_paths_have_the_chain_s_frequencies():
    """4 standard errors of the binomial; zeros never occur."""
    chain = Chain(np.array([0.3, 0.7, 0.0]), np.array([[0.5, 0.5, 0.0], [0.2, 0.0, 0.8], [0.0, 1.0, 0.0]]))
    path = discrete.sample_paths(chain, 50, 4000, np.random.default_rng(0))
    assert path[:, 0].mean() == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / 4000))
    moves = np.zeros((3, 3))
    np.add.at(moves, (path[:, :-1], path[:, 1:]), 1)
    assert (moves[chain.transition == 0] == 0).all()
    expected = chain.transition * moves.sum(axis=1, keepdims=True)
    error = np.sqrt(expected * (1 - chain.transition)) + 1e-12
    assert (np.abs(moves - expected) <= 4 * error).all()


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_an_impossible_sequence_is_an_outcome():
    chain, table, lengths = random_case(2, [3, 3], 11)
    table[4] = -np.inf
    for done in (discrete.filter, discrete.smooth, discrete.viterbi):
        result = done(chain, table, lengths)
        assert result.outcome is Outcome.IMPOSSIBLE
        assert result.impossible.tolist() == [1]
        with pytest.raises(NumericalError, match="probability zero"):
            result.outcome.check()
    assert discrete.smooth(chain, table, lengths).log_prob == -np.inf
    assert discrete.filter(chain, table[:3], lengths[:1]).outcome.ok


def test_misuse_names_the_argument_and_the_fix():
    chain, table, lengths = random_case(3, [4], 12)
    with pytest.raises(InputError, match=r"`table` has shape \(4, 2\); pass one column for each of the 3 states"):
        discrete.filter(chain, table[:, :2], lengths)
    with pytest.raises(InputError, match="`lengths` sums to 5 but `table` has 4 rows"):
        discrete.viterbi(chain, table, np.array([5]))
    for bad in (np.nan, np.inf):
        table[2, 1] = bad
        for verb in (discrete.log_prob_steps, discrete.smooth, discrete.viterbi):
            with pytest.raises(InputError, match="NaN or \\+inf in sequence 0"):
                verb(chain, table, lengths)


def test_inputs_are_not_changed():
    chain, table, lengths = random_case(3, [5, 5], 13)
    copies = [a.copy() for a in (chain.initial, chain.transition, table, lengths)]
    discrete.smooth(chain, table, lengths)
    discrete.viterbi(chain, table, lengths)
    discrete.forgetting_rate(chain, table, lengths)
    for now, before in zip((chain.initial, chain.transition, table, lengths), copies, strict=True):
        assert np.array_equal(now, before)
