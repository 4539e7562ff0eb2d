"""Beliefs and normal tables as differentiable operations. Oracles: the log-space twin (tests/reference/hmm.py), torch step by step, gradcheck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import hmm as ref

from statewise.ops import beliefs as ops
from statewise.ops.normal import normal_table

SEEDS = st.integers(0, 2**32 - 1)


def problem(seed, N, T, K, each=False, zeros=False):
    rng = np.random.default_rng(seed)
    pi, P = rng.dirichlet(np.ones(K), N if each else None), rng.dirichlet(np.ones(K), K)
    if zeros:
        P = np.where(np.eye(K) + np.roll(np.eye(K), 1, axis=1) > 0, P + 0.1, 0.0)
        P /= P.sum(axis=1, keepdims=True)
    table = 3 * rng.standard_normal((N, T, K))
    table[rng.random((N, T)) < 0.2] = 0.0  # steps without observation
    return pi, P, table


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 9), st.integers(1, 6), st.sampled_from([1, 2, 3, 8, 9, 17]), st.booleans(), st.booleans())
def test_the_forward_pass_is_the_twin(seed, N, T, K, each, zeros):
    """States in one block, several, and with padding; batches that are and are not multiples of four."""
    pi, P, table = problem(seed, N, T, K, each, zeros)
    found = ops.run(pi, P, table, predicted=True)
    for n in range(N):
        own = pi[n] if each else pi
        np.testing.assert_allclose(found.by_sequence(found.belief)[n], ref.filtered(own, P, table[n]), atol=1e-13)
        np.testing.assert_allclose(found.by_sequence(found.predicted)[n], ref.predicted(own, P, table[n]), atol=1e-13)
        np.testing.assert_allclose(found.steps[n], ref.log_prob_steps(own, P, table[n]), rtol=1e-12, atol=1e-12)


def test_exponentials_reach_zero_exactly():
    """exp of 0, of what is below the doubles, and of −inf; against NumPy in between, to two units in the last place, less exp(−708) = 3.3e-308."""
    gaps = np.concatenate([np.linspace(-705, 0, 3000), [-708.0, -745.0, -1e300, -np.inf]])
    table = np.stack([np.zeros(len(gaps)), gaps], axis=1)
    b, tops = np.empty((len(gaps), 8)), np.empty(len(gaps))
    assert ops.kernel.likelihoods(table, False, 0, len(gaps), b, tops)
    np.testing.assert_allclose(b[:-4, 1], np.exp(gaps[:-4]), rtol=5e-16, atol=3.4e-308)
    assert (b[-4:, 1] == 0).all() and (b[:, 0] == 1).all() and (b[:, 2:] == 0).all()


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("K", [3, 8, 11])
def test_gradients_pass_gradcheck(K, each, zeros):
    """All three outputs, by first law, transitions and table; with second derivatives, which go by torch."""
    tensors = [torch.tensor(part, requires_grad=True) for part in problem(5, 2, 4, K, each, zeros)]

    def function(pi, P, table):
        return ops.beliefs(pi, P, table, predicted=True)

    assert torch.autograd.gradcheck(function, tensors)
    if K == 3:
        assert torch.autograd.gradgradcheck(function, tensors)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 13), st.integers(1, 5), st.sampled_from([2, 8, 10]))
def test_gradients_are_those_of_the_recursion_in_torch(seed, N, T, K):
    tensors = [torch.tensor(part, requires_grad=True) for part in problem(seed, N, T, K)]
    draws = torch.Generator().manual_seed(seed % 1000)
    want = ops.unrolled(*tensors)
    have = ops.beliefs(*tensors, predicted=True)
    upstream = [torch.randn(part.shape, generator=draws, dtype=torch.float64) for part in want]
    for a, b in zip(have, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    pairs = [torch.autograd.grad(out, tensors, upstream, materialize_grads=True) for out in (have, want)]
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_threads_change_nothing(monkeypatch):
    """Sixteen sequences of 1 000 steps in 17 states are work for two threads; nine are cut where four rows end."""
    pi, P, table = problem(1, 17, 1000, 17)
    tensors = [torch.tensor(part, requires_grad=True) for part in (pi, P, table)]
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("STATEWISE_THREADS", threads)
        probs, steps, _ = ops.beliefs(*tensors)
        found.append([probs, steps, *torch.autograd.grad((probs**2).sum() + steps.sum(), tensors)])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.__setitem__((1, 2), -np.inf),  # impossible
        lambda table: table.__setitem__((1, 2, 0), np.nan),
        lambda table: table.__setitem__((1, 2, 0), np.inf),
    ],
)
def test_rows_that_are_not_its_business_are_left_alone(spoil):
    pi, P, table = problem(2, 2, 5, 3)
    assert ops.run(pi, P, table) is not None
    spoil(table)
    assert ops.run(pi, P, table) is None


def test_a_state_that_doubles_lose_is_left_alone_where_it_can_matter():
    """A likelihood ratio of e⁻⁷⁰⁰ under transitions with zeros, at once and over many rows; without zeros it is forgotten."""
    pi, P, table = problem(3, 1, 60, 2, zeros=True)
    P = np.array([[1.0, 0.0], [0.0, 1.0]])
    table[:] = 0.0
    table[0, 3, 1] = -700.0
    assert ops.run(pi, P, table) is None
    table[0, :, 1] = -20.0
    assert ops.run(pi, P, table) is None
    assert ops.run(pi, np.full((2, 2), 0.5), table) is not None


def test_what_a_caller_changes_is_noticed():
    """Beliefs are what the backward pass reads: torch refuses it once they were written over."""
    tensors = [torch.tensor(part, requires_grad=True) for part in problem(4, 2, 3, 8)]
    probs, steps, _ = ops.beliefs(*tensors)
    with torch.no_grad():
        probs.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        steps.sum().backward()


def test_normal_tables_and_their_gradients():
    """Closed form by torch's own Normal, entries missing; gradcheck of first and second order."""
    rng = np.random.default_rng(0)
    y = torch.tensor(rng.standard_normal((40, 3)))
    y[rng.random((40, 3)) < 0.3] = torch.nan
    means = torch.tensor(rng.standard_normal((5, 3)), requires_grad=True)
    log_variances = torch.tensor(rng.standard_normal((5, 3)), requires_grad=True)
    law = torch.distributions.Normal(means, torch.exp(0.5 * log_variances), validate_args=False)
    seen = ~torch.isnan(y)
    want = torch.where(seen[:, None], law.log_prob(torch.nan_to_num(y)[:, None]), 0.0).sum(-1)
    torch.testing.assert_close(normal_table(y, means, log_variances), want, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda m, v: normal_table(y, m, v), (means, log_variances))
    assert torch.autograd.gradgradcheck(lambda m, v: normal_table(y[:4], m, v), (means, log_variances))
