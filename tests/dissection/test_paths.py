"""Paths by their order against enumeration of all 2^T words and closed forms."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.opening import opened
from statewise.dissection.paths import _start, _walk

paths = sw.dissection.paths


def enumerated(D: np.ndarray, R: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(T + 1, r, n) the sum over all words of D and R, by the number of R; the last step comes first from the left."""
    steps = len(D)
    sums = np.zeros((steps + 1, *start.shape))
    for word in product((0, 1), repeat=steps):
        found = start
        for t in range(steps - 1, -1, -1):
            found = found @ (R if word[t] else D)[t]
        sums[sum(word)] += found
    return sums


@pytest.mark.parametrize("form", ["cotangent", "matrix"])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_the_recursion_sums_all_words(name, form):
    """Ten Jacobians, 1024 words, to 1e-12 relative."""
    torch.manual_seed(0)
    layer = getattr(torch.nn, name)(2, 3, batch_first=True).double()
    subject = opened(layer, torch.randn(2, 11, 2).double())
    site, system = subject.sites[0], subject.sites[0].system
    start = _start(site, system, form)
    sizes, total = _walk(system, start, 10, "carry")
    for b in range(2):
        D = np.stack([system.direct(t)[b] for t in range(1, 11)])
        J = np.stack([system.jacobian(t)[b] for t in range(1, 11)])
        sums = enumerated(D, J - D, start[b])
        norms = np.linalg.norm(sums, 2, axis=(1, 2))
        np.testing.assert_allclose(sizes[b, 10] / sizes[b, 10].sum(), norms / norms.sum(), atol=1e-12)
        cancellation = np.linalg.norm(sums.sum(axis=0), 2) / norms.sum()
        np.testing.assert_allclose(total[b, 10] / sizes[b, 10].sum(), cancellation, atol=1e-12)
    d = paths(subject, lag=10, form=form)
    assert d.data["highway"] == pytest.approx(np.mean(sizes[:, 10, 0] / sizes[:, 10].sum(axis=1)), abs=1e-12)
    assert "carry" in d.data["rule"]
    assert d.plot().axes


def test_a_scalar_has_binomial_paths():
    """D = .9, R = .2, T = 10: C(10, k) .9^{10−k} .2^k, 1.818182 mean detours, (d + r)^T = 2.593742; .9 is what the GRU's z carries."""
    layer = torch.nn.GRU(1, 1, batch_first=True, bias=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[1] = np.log(9.0)
        layer.weight_hh_l0[2] = 0.2 / (0.1 * 0.5)
    x = torch.zeros(1, 11, 1).double()
    d = paths(layer, x, loss=lambda result: result[0][..., 0] + 1, lag=10)
    size = np.array([comb(10, k) * 0.9 ** (10 - k) * 0.2**k for k in range(11)])
    assert size.sum() == pytest.approx(2.593742, abs=1e-6)
    np.testing.assert_allclose(d.data["size"], size / size.sum(), atol=1e-12)
    assert d.value == pytest.approx(1.818182, abs=1e-6)
    assert d.data["cancellation"] == pytest.approx(1)


def test_paths_can_cancel():
    """J = I + R with R = −I: all paths together are nothing."""
    d = paths(np.tile(np.zeros((2, 2)), (6, 1, 1)), form="matrix", direct="identity", lag=5)
    assert d.data["cancellation"] == pytest.approx(0)
    assert d.value == pytest.approx(2.5)
    diagonal = paths(np.tile(np.diag([0.5, 0.4]), (6, 1, 1)), form="matrix", direct="diagonal", lag=5)
    assert diagonal.data["highway"] == pytest.approx(1)
    assert diagonal.value == 0


def test_a_simple_network_detours_at_every_step():
    layer = torch.nn.RNN(1, 3, batch_first=True).double()
    d = paths(layer, torch.randn(2, 30, 1).double(), lag=8)
    assert d.value == 8
    assert d.data["highway"] == 0


def test_ragged_sequences_are_followed_from_their_own_ends():
    torch.manual_seed(0)
    layer = torch.nn.LSTM(1, 3, batch_first=True).double()
    x = torch.randn(3, 30, 1).double()
    together = paths(layer, x, lengths=torch.tensor([30, 12, 20]), lag=9)
    alone = [paths(layer, x[b : b + 1, :length], lag=9) for b, length in enumerate((30, 12, 20))]
    np.testing.assert_allclose(together.data["size"], np.mean([d.data["size"] for d in alone], axis=0), atol=1e-12)


def test_hundreds_of_steps_stay_finite():
    torch.manual_seed(0)
    layer = torch.nn.LSTM(1, 4, batch_first=True).double()
    d = paths(layer, torch.randn(2, 400, 1).double(), lag=399)
    assert np.isfinite(d.data["size"]).all()
    assert d.data["size"].sum() == pytest.approx(1)


def test_refused_without_parts_or_loss():
    assert paths(np.ones((5, 1, 1))).status is Status.REFUSED
    step = paths(lambda x, s: 0.5 * s, np.zeros((1, 9, 0)), initial=np.ones(2))
    assert step.status is Status.REFUSED
    assert "direct='identity'" in step.reason
