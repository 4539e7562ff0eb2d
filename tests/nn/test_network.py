"""The torch module and its head. Oracles: the head in NumPy, scipy's normal density, and torch on single sequences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from statewise.nn.head import FLOOR, SWING, bias_for, gaussian_head, is_trained
from statewise.nn.network import Head, HeadOutput, RecurrentNetwork, departure, gaussian_nll


def network(cell: str = "gru", layers: int = 1) -> RecurrentNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = RecurrentNetwork(cell, 5, 4, layers, 6, 2).double()
        with torch.no_grad():
            for p in module.head.parameters():
                p.normal_()
    return module


def test_the_head_is_the_same_in_torch_and_numpy():
    module = network().head
    rng = np.random.default_rng(0)
    h, skip = rng.normal(size=(3, 7, 4)), rng.normal(size=(3, 7, 6))
    arrays = {name: p.detach().numpy() for name, p in module.named_parameters()}
    for ours, theirs in zip(
        gaussian_head(arrays, h, skip), module(torch.from_numpy(h), torch.from_numpy(skip))[:2], strict=True
    ):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-13)


def test_a_new_head_predicts_the_skip_alone():
    module = Head(4, 6, (2, 2, 0))
    mean, log_sd, correction, swing = module(torch.randn(3, 4, generator=torch.Generator()), torch.ones(3, 6))[:4]
    assert not correction.any()
    assert not swing.any()
    assert not mean.any()
    torch.testing.assert_close(log_sd, torch.full((3, 2), FLOOR + float(np.logaddexp(0, -FLOOR))))


def test_the_log_sd_is_softly_bounded():
    params = {
        "mean_weight": np.zeros((1, 1)),
        "mean_bias": np.zeros(1),
        "skip_weight": np.zeros((1, 1)),
        "log_sd_weight": np.ones((1, 1)),
        "log_sd_bias": np.array([-1e3]),
    }
    _, low = gaussian_head(params, np.array([[-1e6]]), np.zeros((1, 1)))
    _, high = gaussian_head(params, np.array([[1e6]]), np.zeros((1, 1)))
    assert low[0, 0] == FLOOR - SWING
    assert high[0, 0] == FLOOR + SWING


@pytest.mark.parametrize("log_sd", [-6.0, -1.0, 0.0, 2.0])
def test_bias_for_inverts_the_base(log_sd):
    assert FLOOR + np.logaddexp(0.0, bias_for(np.array([log_sd])) - FLOOR) == pytest.approx(log_sd, abs=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_arrays_go_out_and_back(cell, layers):
    first, second = network(cell, layers), RecurrentNetwork(cell, 5, 4, layers, 6, 2).double()
    second.load(first.arrays() | {"something_else": np.zeros(3)})
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert all(is_trained(name) for name in first.arrays())
    assert not is_trained("value_mean")


def test_arrays_are_copies():
    module = network()
    module.arrays()["mean_weight"][:] = 0.0
    assert module.head.mean_weight.any()


def test_padding_at_the_end_changes_nothing():
    """Oracle: the short sequence alone."""
    module = network("lstm")
    rng = np.random.default_rng(1)
    x, skip = torch.from_numpy(rng.normal(size=(2, 9, 5))), torch.from_numpy(rng.normal(size=(2, 9, 6)))
    alone = module(x[1:, :4], skip[1:, :4])
    padded = module(x, skip)
    torch.testing.assert_close(padded.mean[1, :4], alone.mean[0], atol=1e-14, rtol=0)


def test_the_objective_is_the_normal_density():
    rng = np.random.default_rng(2)
    mean, log_sd, y = (rng.normal(size=(3, 4, 2)) for _ in range(3))
    weight = (rng.random((3, 4, 2)) < 0.6).astype(float)
    mu, s, observed, wanted = (torch.from_numpy(a) for a in (mean, log_sd, y, weight))
    found = gaussian_nll(HeadOutput(mu, s, mu, s), observed, wanted)
    assert float(found) == pytest.approx(-(weight * norm.logpdf(y, mean, np.exp(log_sd))).sum(), rel=1e-13)


def test_the_departure_is_from_the_line_with_constant_variance():
    """Oracle: its formula, on one entry that counts and one that does not; and no gradient reaches the sd by way of the mean."""
    log_sd = torch.tensor([math.log(2.0), 0.0], requires_grad=True)
    correction, swing = torch.tensor([3.0, 9.0], requires_grad=True), torch.tensor([0.5, 9.0])
    found = departure(HeadOutput(correction, log_sd, correction, swing), torch.tensor([1.0, 0.0]))
    assert found.item() == pytest.approx(5 * 1.5**2 + 10 * 0.25, rel=1e-6)
    found.backward()
    assert log_sd.grad is None
    assert correction.grad.tolist() == pytest.approx([10 * 3 / 4, 0.0])


def test_every_parameter_is_in_one_group_and_only_hidden_weights_decay():
    module = network("gru", 2)
    decaying, free = module.groups(0.5)
    assert (decaying["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    names = {id(p): name.partition(".")[2] for name, p in module.named_parameters()}
    assert {names[id(p)] for p in free["params"]} == {"skip_weight", "mean_bias", "log_sd_bias"} | {
        f"bias_{kind}_l{layer}" for kind in ("ih", "hh") for layer in (0, 1)
    }
    assert len(decaying["params"]) + len(free["params"]) == len(names)
