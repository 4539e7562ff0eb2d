"""The linear RNN as a differentiable operation. Oracles: the plain twin (tests/reference/linear_rnn.py), torch step by step, gradcheck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import linear_rnn as twin

from statewise.ops.linear_rnn import linear_rnn, unrolled

SEEDS = st.integers(0, 2**32 - 1)


def problem(seed, N, T, p, n, L, each):
    """y, s, o, A, C, gain and the first state, of numbers that do not explode."""
    rng = np.random.default_rng(seed)
    shapes = [(N, T, p), (N, T, n) if each else (n,), (N, T, p) if each else (p,), (n, n), (p, n), (L, n, p), (n,)]
    return [torch.tensor(0.5 * rng.standard_normal(shape) / np.sqrt(shape[-1]), requires_grad=True) for shape in shapes]


@settings(max_examples=40, deadline=None)
@given(
    SEEDS, st.integers(1, 9), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.booleans()
)
def test_it_is_the_twin_and_its_gradients_are_torch(seed, N, T, p, n, L, each):
    given_ = problem(seed, N, T, p, n, L, each)
    expected, last = linear_rnn(*given_)
    y, s, o, *rest = (part.detach().numpy() for part in given_)
    s, o = np.broadcast_to(s, (N, T, n)), np.broadcast_to(o, (N, T, p))
    for i in range(N):
        want = twin.run(y[i], s[i], o[i], *rest)
        np.testing.assert_allclose(expected[i].detach(), want[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(last[i].detach(), want[1], rtol=1e-12, atol=1e-12)
    draws = torch.Generator().manual_seed(seed % 1000)
    upstream = [torch.randn(part.shape, generator=draws, dtype=torch.float64) for part in (expected, last)]
    pairs = [torch.autograd.grad(function(*given_), given_, upstream) for function in (linear_rnn, unrolled)]
    for have, want in zip(*pairs, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("L", [1, 3])
def test_gradients_pass_gradcheck(L, each):
    given_ = problem(1, 2, 4, 2, 3, L, each)
    assert torch.autograd.gradcheck(linear_rnn, given_)
    assert torch.autograd.gradgradcheck(linear_rnn, given_)


def test_threads_change_nothing(monkeypatch):
    given_ = problem(2, 17, 800, 3, 20, 5, False)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("STATEWISE_THREADS", threads)
        expected, last = linear_rnn(*given_)
        found.append([expected, last, *torch.autograd.grad((expected**2).sum() + last.sum(), given_)])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)
