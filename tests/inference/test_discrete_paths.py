"""Lists of best paths, draws of paths and the gradient, against enumeration of all K^T paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from statewise._core.errors import InputError
from statewise.inference import discrete, discrete_paths
from statewise.inference.discrete import Chain
from statewise.inference.discrete_autograd import hmm_log_prob


def case(states=3, rows=5, seed=0, zeros=False):
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), size=states)
    if zeros:
        transition[0, 1] = 0.0
        transition /= transition.sum(axis=1, keepdims=True)
    return Chain(rng.dirichlet(np.ones(states)), transition), rng.normal(size=(rows, states))


def all_paths(chain, table):
    """(paths, log probabilities), best first."""
    K, T = chain.states, len(table)
    paths = np.array(list(itertools.product(range(K), repeat=T)))
    score = chain.log_initial[paths[:, 0]] + table[np.arange(T), paths].sum(axis=1)
    score = score + chain.log_transition[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    order = np.argsort(-score, kind="stable")
    return paths[order], score[order]


@pytest.mark.parametrize("zeros", [False, True])
def test_the_best_paths_are_those_of_the_enumeration(zeros):
    chain, table = case(zeros=zeros)
    expected, score = all_paths(chain, table)
    paths, log_prob = discrete_paths.best_paths(chain, np.tile(table, (2, 1)), np.array([5, 5]), 20)
    np.testing.assert_allclose(log_prob, np.repeat(score[:20, None], 2, axis=1), rtol=1e-12)
    assert np.array_equal(paths[:, :5], expected[:20])
    assert np.array_equal(paths[:, 5:], expected[:20])
    best = discrete.viterbi(chain, table, np.array([5]))
    assert np.array_equal(paths[0, :5], best.states)


def test_where_paths_run_out_the_rest_is_marked():
    chain = Chain(np.array([1.0, 0.0]), np.array([[0.5, 0.5], [0.0, 1.0]]))
    paths, log_prob = discrete_paths.best_paths(chain, np.zeros((3, 2)), np.array([3]), 5)
    assert np.isfinite(log_prob[:, 0]).tolist() == [True, True, True, False, False]
    assert (paths[3:] == -1).all()
    assert sorted(map(tuple, paths[:3].tolist())) == [(0, 0, 0), (0, 0, 1), (0, 1, 1)]


def test_drawn_paths_have_the_posterior_law_of_whole_paths():
    chain, table = case(states=2, rows=3, seed=1)
    paths, score = all_paths(chain, table)
    law = np.exp(score - np.logaddexp.reduce(score))
    count = 40_000
    drawn = discrete_paths.posterior_paths(chain, table, np.array([3]), count, np.random.default_rng(0))
    for path, chance in zip(paths, law, strict=True):
        share = (drawn == path).all(axis=1).mean()
        assert share == pytest.approx(chance, abs=5 * np.sqrt(chance * (1 - chance) / count))


def test_drawn_paths_never_take_an_impossible_step():
    chain = Chain(np.array([1.0, 0.0, 0.0]), np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]]))
    drawn = discrete_paths.posterior_paths(chain, np.zeros((40, 3)), np.array([40]), 200, np.random.default_rng(0))
    assert set(np.diff(drawn, axis=1).ravel().tolist()) == {0, 1}


def test_the_gradient_is_that_of_the_enumerated_likelihood():
    chain, table = case(seed=2)

    def log_prob(log_initial, log_transition, table):
        paths = torch.as_tensor(np.array(list(itertools.product(range(3), repeat=5))))
        score = log_initial[paths[:, 0]] + table[torch.arange(5), paths].sum(dim=1)
        return torch.logsumexp(score + log_transition[paths[:, :-1], paths[:, 1:]].sum(dim=1), dim=0)

    arrays = (chain.log_initial, chain.log_transition, table)
    ours = [torch.tensor(array, requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    value, expected = hmm_log_prob(*ours), log_prob(*theirs)
    assert value.item() == pytest.approx(expected.item(), rel=1e-13)
    value.backward()
    expected.backward()
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-12)


def test_the_gradient_passes_torch_s_own_check_through_softmax():
    torch.manual_seed(0)
    free = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3,), (3, 3), (7, 3))]

    def value(a, b, c):
        return hmm_log_prob(a.log_softmax(0), b.log_softmax(1), c, lengths=[4, 3])

    assert torch.autograd.gradcheck(value, free, atol=1e-6)


def test_zeros_have_a_gradient_of_zero():
    initial = torch.tensor([0.0, -np.inf], dtype=torch.float64, requires_grad=True)
    transition = torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=torch.float64).log().requires_grad_()
    table = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    hmm_log_prob(initial, transition, table).backward()
    assert initial.grad.tolist() == [1.0, 0.0]
    assert transition.grad[1, 0] == 0.0
    assert torch.isfinite(table.grad).all()
    with pytest.raises(InputError, match="use log_softmax"):
        hmm_log_prob(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
