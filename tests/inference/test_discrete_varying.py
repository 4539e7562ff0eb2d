"""`inference/discrete_varying.py`: enumeration, the twin, the constant chain as a special case, invariances, outcomes."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import hmm_varying as reference

from statewise._core.errors import InputError
from statewise._core.outcome import Outcome
from statewise.inference import discrete, discrete_any, discrete_paths, discrete_varying
from statewise.inference.discrete import Chain
from statewise.inference.discrete_autograd import hmm_log_prob
from statewise.inference.discrete_inputs import InputChain
from statewise.inference.discrete_varying import VaryingChain

TOLERANCE = {"rtol": 1e-11, "atol": 1e-13}  # float64 sums over short sequences


def logs(P):
    with np.errstate(divide="ignore"):
        return np.log(P)


def random_case(states, lengths, seed, *, zeros=False, scale=2.0):
    """A chain, its P, a table and lengths; with `zeros` a left-to-right chain and a table with −inf that leaves a path open."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(states), (sum(lengths), states))
    pi, table = rng.dirichlet(np.ones(states)), rng.normal(size=(sum(lengths), states)) * scale
    if zeros:
        P = np.triu(P) / np.triu(P).sum(axis=2, keepdims=True)
        pi = np.eye(states)[0]
        out = rng.random(table.shape) < 0.2
        out[:, -1], out[np.cumsum([0, *lengths[:-1]]), 0] = False, False
        table[out] = -np.inf
    return VaryingChain(pi, logs(P)), P, table, np.array(lengths)


CASES = {
    "one state": random_case(1, [4, 1], 0),
    "one row": random_case(3, [1], 1),
    "ragged": random_case(3, [7, 1, 30, 2], 2),
    "many states": random_case(12, [20, 20], 3),
    "zeros": random_case(4, [25, 1, 40], 4, zeros=True),
    "zeros and underflow": random_case(4, [50, 3], 6, zeros=True, scale=500.0),
}


@pytest.mark.parametrize(("states", "length"), [(1, 4), (2, 1), (2, 9), (3, 7), (4, 5)])
def test_everything_against_the_enumeration_of_all_paths(states, length):
    chain, P, table, lengths = random_case(states, [length], seed=states * 10 + length)
    paths, joint = reference.enumerate_paths(chain.initial, P, table)
    total = np.logaddexp.reduce(joint)
    share = np.exp(joint - total)
    smooth = discrete_varying.smooth(chain, table, lengths)
    assert smooth.log_prob == pytest.approx(total, rel=1e-12)
    pairs = np.zeros((length, states, states))
    for path, weight in zip(paths, share, strict=True):
        pairs[np.arange(length - 1), path[:-1], path[1:]] += weight
    np.testing.assert_allclose(smooth.pairs, pairs, **TOLERANCE)
    np.testing.assert_allclose(smooth.counts, pairs.sum(axis=0), **TOLERANCE)
    marginal = np.array([[share[paths[:, t] == k].sum() for k in range(states)] for t in range(length)])
    np.testing.assert_allclose(smooth.probs, marginal, **TOLERANCE)
    np.testing.assert_allclose(smooth.starts, marginal[0], **TOLERANCE)
    order = np.argsort(-joint, kind="stable")
    best = discrete_varying.viterbi(chain, table, lengths)
    assert np.array_equal(best.states, paths[order[0]])
    assert best.log_prob[0] == pytest.approx(joint.max(), rel=1e-13)
    count = min(5, len(paths))
    found, log_prob = discrete_paths.best_paths(chain, table, lengths, count)
    assert np.array_equal(found, paths[order[:count]])
    np.testing.assert_allclose(log_prob[:, 0], joint[order[:count]], rtol=1e-12)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_recursion_agrees_with_the_twin(name):
    chain, P, table, lengths = CASES[name]
    cuts = [slice(a, b) for a, b in pairwise(np.concatenate([[0], np.cumsum(lengths)]))]
    each = [(chain.initial, P[cut], table[cut]) for cut in cuts]
    # Scores of 500 a row cost three digits of the sums that the twin's alpha–beta form takes differences of.
    close = TOLERANCE if "underflow" not in name else {"rtol": 1e-9, "atol": 1e-9}
    filtered = discrete_varying.filter(chain, table, lengths)
    smooth = discrete_varying.smooth(chain, table, lengths)
    for ours, theirs in (
        (filtered.steps, reference.log_prob_steps),
        (discrete_varying.log_prob_steps(chain, table, lengths), reference.log_prob_steps),
        (filtered.probs, reference.filtered),
        (filtered.predicted, reference.predicted),
        (smooth.probs, reference.smoothed),
        (smooth.pairs, reference.pairs),
    ):
        np.testing.assert_allclose(ours, np.concatenate([theirs(*one) for one in each]), **close)
    best = discrete_varying.viterbi(chain, table, lengths)
    assert np.array_equal(best.states, np.concatenate([reference.viterbi(*one)[0] for one in each]))
    np.testing.assert_allclose(best.log_prob, [reference.viterbi(*one)[1] for one in each], rtol=1e-13)


@pytest.mark.parametrize("zeros", [False, True])
def test_a_chain_that_does_not_vary_gives_what_the_constant_one_gives(zeros):
    _, P, table, lengths = random_case(3, [40, 1, 25], 7, zeros=zeros)
    pi = np.eye(3)[0] if zeros else np.array([0.2, 0.5, 0.3])
    constant, varying = Chain(pi, P[0]), VaryingChain(pi, np.tile(logs(P[0]), (len(table), 1, 1)))
    one, other = (discrete_any.filter(chain, table, lengths) for chain in (constant, varying))
    np.testing.assert_allclose(other.probs, one.probs, **TOLERANCE)
    np.testing.assert_allclose(other.steps, one.steps, **TOLERANCE)
    one, other = (discrete_any.smooth(chain, table, lengths) for chain in (constant, varying))
    np.testing.assert_allclose(other.probs, one.probs, **TOLERANCE)
    np.testing.assert_allclose(other.counts, one.counts, **TOLERANCE)
    np.testing.assert_allclose(
        discrete_any.log_prob_steps(varying, table, lengths),
        discrete_any.log_prob_steps(constant, table, lengths),
        **TOLERANCE,
    )
    sums = (discrete_any.log_prob(chain, table, lengths) for chain in (constant, varying))
    np.testing.assert_allclose(*sums, **TOLERANCE)
    one, other = (discrete_any.viterbi(chain, table, lengths) for chain in (constant, varying))
    assert np.array_equal(one.states, other.states)
    one, other = (discrete_paths.best_paths(chain, table, lengths, 3) for chain in (constant, varying))
    assert np.array_equal(one[0], other[0])
    draws = [
        discrete_paths.posterior_paths(chain, table, lengths, 20, np.random.default_rng(0))
        for chain in (constant, varying)
    ]
    assert np.array_equal(*draws)
    draws = [
        discrete_any.sample_paths(chain, 11, 6, np.random.default_rng(0))
        for chain in (constant, VaryingChain(pi, varying.log_transition))
    ]
    assert np.array_equal(*draws)
    if not zeros:
        rates = [discrete_any.forgetting_rate(chain, table, lengths) for chain in (constant, varying)]
        assert rates[1] == pytest.approx(rates[0], rel=1e-9)
    belief = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    ahead = discrete_any.propagate(VaryingChain(pi, varying.log_transition[:8]), belief, 4)
    np.testing.assert_allclose(ahead, discrete_any.propagate(constant, belief, 4), **TOLERANCE)


def test_drawn_paths_have_the_posterior_law_of_whole_paths():
    """20 000 draws: every path's share within 5 binomial standard errors of its enumerated probability."""
    chain, P, table, lengths = random_case(2, [4], 8)
    paths, joint = reference.enumerate_paths(chain.initial, P, table)
    law = np.exp(joint - np.logaddexp.reduce(joint))
    draws = discrete_paths.posterior_paths(chain, table, lengths, 20_000, np.random.default_rng(1))
    share = (draws[:, None] == paths).all(axis=2).mean(axis=0)
    assert (np.abs(share - law) <= 5 * np.sqrt(law * (1 - law) / 20_000)).all()


def test_drawn_chains_have_the_chain_s_own_law():
    """The second and third state of 20 000 paths, within 5 standard errors of π P[0] and π P[0] P[1]; also with one P a path."""
    chain, P, _, _ = random_case(3, [3], 9)
    other = VaryingChain(chain.initial, np.tile(chain.log_transition, (20_000, 1, 1)))
    for drawn in (chain, other):
        path = discrete_varying.sample_paths(drawn, 3, 20_000, np.random.default_rng(2))
        law = chain.initial
        for t in range(3):
            share = np.bincount(path[:, t], minlength=3) / 20_000
            assert (np.abs(share - law) < 5 * np.sqrt(law * (1 - law) / 20_000)).all()
            law = law @ P[t]


cases = st.builds(
    random_case, st.integers(1, 5), st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 10**6)
)


@given(cases, st.randoms(use_true_random=False))
def test_relabelling_the_states_relabels_the_answers(drawn, random):
    chain, _, table, lengths = drawn
    order = np.array(random.sample(range(chain.states), chain.states))
    other = VaryingChain(chain.initial[order], chain.log_transition[:, order][:, :, order])
    first, second = (
        discrete_varying.smooth(chain, table, lengths),
        discrete_varying.smooth(other, table[:, order], lengths),
    )
    np.testing.assert_allclose(second.log_probs, first.log_probs, **TOLERANCE)
    np.testing.assert_allclose(second.pairs, first.pairs[:, order][:, :, order], **TOLERANCE)


@given(cases)
def test_time_reversal_reverses_the_answers(drawn):
    """A sequence's law run backwards has transitions m[t, j] P[t, j, i] / m[t + 1, i], m the marginal law of the state."""
    chain, P, table, lengths = drawn
    turned, starts, turn, first = np.empty(P.shape), [], [], 0
    for length in lengths:
        law = [chain.initial]
        for t in range(length - 1):
            law.append(law[-1] @ P[first + t])
        for t in range(length - 1):
            turned[first + length - 2 - t] = (law[t][:, None] * P[first + t] / law[t + 1]).T
        turned[first + length - 1] = 1.0 / chain.states
        starts.append(law[-1])
        turn.append(np.arange(first + length - 1, first - 1, -1))
        first += length
    forward = discrete_varying.smooth(chain, table, lengths)
    for n, rows in enumerate(turn):
        back = VaryingChain(starts[n], logs(turned[np.sort(rows)]))
        found = discrete_varying.smooth(back, table[rows], lengths[n : n + 1])
        assert found.log_prob == pytest.approx(forward.log_probs[n], rel=1e-9, abs=1e-11)
        np.testing.assert_allclose(found.probs, forward.probs[rows], rtol=1e-8, atol=1e-11)


def test_threads_and_neighbours_do_not_change_a_digit(monkeypatch):
    chain, _, table, lengths = random_case(6, [3000, 2000, 3000], 10)
    answers = []
    for threads in ("1", "3"):
        monkeypatch.setenv("STATEWISE_THREADS", threads)
        done = discrete_varying.smooth(chain, table, lengths)
        answers.append((done.log_probs, done.probs, done.pairs, discrete_varying.viterbi(chain, table, lengths).states))
    for one, three in zip(*answers, strict=True):
        assert np.array_equal(one, three)
    alone = discrete_varying.smooth(VaryingChain(chain.initial, chain.log_transition[:3000]), table[:3000], lengths[:1])
    assert np.array_equal(alone.pairs, answers[0][2][:3000])


def test_an_impossible_row_is_an_outcome_and_nothing_is_nan():
    """State 1 can never be reached, and row 3 can be emitted by nothing else."""
    P = np.tile([[1.0, 0.0], [0.5, 0.5]], (6, 1, 1))
    chain, table = VaryingChain(np.array([1.0, 0.0]), logs(P)), np.zeros((6, 2))
    table[3, 0] = -np.inf
    done = discrete_varying.smooth(chain, table, np.array([6]))
    assert done.outcome is Outcome.IMPOSSIBLE
    assert done.impossible.tolist() == [0]
    assert done.log_probs[0] == -np.inf
    assert np.isfinite(done.probs).all() and np.isfinite(done.pairs).all()
    np.testing.assert_allclose(done.probs[:, 0], 1.0)
    best = discrete_varying.viterbi(chain, table, np.array([6]))
    assert best.log_prob[0] == -np.inf and best.outcome is Outcome.IMPOSSIBLE and best.states.tolist() == [0] * 6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_misuse_names_the_argument_and_the_fix(bad):
    chain, _, table, lengths = random_case(2, [5], 11)
    with pytest.raises(InputError, match="transitions for 5 rows and `table` has 4"):
        discrete_varying.filter(chain, table[:4], np.array([4]))
    table[2, 1] = bad
    for function in (discrete_varying.filter, discrete_varying.smooth, discrete_varying.viterbi):
        with pytest.raises(InputError, match="NaN or \\+inf in sequence 0"):
            function(chain, table, lengths)


# --- transitions from inputs ------------------------------------------------------------------------------------------


def test_transitions_are_the_softmax_of_the_inputs_whatever_the_reference():
    rng = np.random.default_rng(12)
    intercepts, coefficients, inputs = rng.normal(size=(3, 3)), rng.normal(size=(3, 2, 3)), rng.normal(size=(20, 2)) * 3
    chain = InputChain(np.full(3, 1 / 3), intercepts, coefficients)
    expected = reference.softmax_transitions(intercepts, coefficients, inputs)
    np.testing.assert_allclose(chain.along(inputs).transition, expected, rtol=1e-12)
    assert (np.diagonal(chain.intercepts) == 0).all()
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        chain.reordered(order).along(inputs).transition, expected[:, order][:, :, order], rtol=1e-12
    )


def test_transitions_that_cannot_be_stay_so_and_rows_without_staying_have_another_reference():
    transition = np.array([[0.0, 1.0, 0.0], [0.2, 0.0, 0.8], [0.1, 0.0, 0.9]])
    chain = InputChain.constant(np.full(3, 1 / 3), transition, 2)
    assert chain.reference.tolist() == [1, 0, 2]
    assert chain.free.sum() == 2
    np.testing.assert_allclose(chain.along(np.ones((4, 2))).transition, np.tile(transition, (4, 1, 1)), rtol=1e-12)
    with pytest.raises(InputError, match="have 3 inputs but the transitions of the HMM depend on 2"):
        chain.along(np.ones((4, 3)))


def test_extreme_inputs_keep_their_digits():
    """log P of a transition with log odds −2000 is −2000, where the probability itself is zero in doubles."""
    chain = InputChain(np.array([1.0, 0.0]), np.zeros((2, 2)), np.array([[[0.0, -1.0]], [[0.0, 0.0]]]))
    varying = chain.along(np.array([[2000.0], [0.0]]))
    table = np.array([[0.0, 0.0], [-np.inf, 0.0]])
    steps = discrete_varying.log_prob_steps(varying, table, np.array([2]))
    assert steps[1] == pytest.approx(-2000.0, rel=1e-14)
    assert discrete_varying.smooth(varying, table, np.array([2])).probs.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_compiled_and_plain_python_agree():
    """The same numbers with NUMBA_DISABLE_JIT=1, to rounding, and without a warning."""
    script = (
        "import sys, numpy as np\n"
        "from tests.inference import test_discrete_varying as t\n"
        "for name in ('ragged', 'zeros'):\n"
        "    np.savetxt(sys.stdout, t.answers(name))\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "error"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = np.concatenate([answers(name) for name in ("ragged", "zeros")])
    np.testing.assert_allclose(np.array(done.stdout.split(), dtype=float), ours, **TOLERANCE)


def answers(name):
    chain, _, table, lengths = CASES[name]
    done, best = discrete_varying.smooth(chain, table, lengths), discrete_varying.viterbi(chain, table, lengths)
    drawn = discrete_paths.posterior_paths(chain, table, lengths, 2, np.random.default_rng(0))
    listed = discrete_paths.best_paths(chain, table, lengths, 2)
    parts = [done.log_probs, done.probs, done.pairs, best.states, best.log_prob, drawn, listed[0]]
    return np.concatenate([np.ravel(part) for part in parts])


def test_the_constant_module_is_what_constant_chains_use():
    """No detour: the very numbers of `discrete`, to the last digit."""
    _, P, table, lengths = random_case(3, [50], 13)
    chain = Chain(np.full(3, 1 / 3), P[0])
    assert np.array_equal(
        discrete_any.smooth(chain, table, lengths).probs, discrete.smooth(chain, table, lengths).probs
    )


def test_the_gradient_with_transitions_that_vary_passes_torch_s_own_check():
    """A network's transitions: through log_softmax of scores for every row; zeros have gradient 0; one P for all rows is the sum."""
    rng = np.random.default_rng(14)
    start, scores, table = (
        torch.tensor(rng.normal(size=size), requires_grad=True) for size in ((2,), (6, 2, 2), (6, 2))
    )

    def log_prob(start, scores, table):
        return hmm_log_prob(start.log_softmax(0), scores.log_softmax(2), table, [4, 2])

    assert torch.autograd.gradcheck(log_prob, (start, scores, table))
    one = torch.tensor(rng.normal(size=(2, 2)), requires_grad=True)
    fixed = start.detach().log_softmax(0)
    hmm_log_prob(fixed, one.log_softmax(1), table, [4, 2]).backward()
    together = one.grad.clone()
    one.grad = None
    hmm_log_prob(fixed, one.log_softmax(1).expand(6, 2, 2), table, [4, 2]).backward()
    torch.testing.assert_close(one.grad, together, rtol=1e-10, atol=1e-12)
    with pytest.raises(InputError, match="not log probabilities"):
        hmm_log_prob(fixed, torch.zeros(6, 2, 2, dtype=torch.float64), table, [4, 2])
