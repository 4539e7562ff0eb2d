"""Saturation against gates that are set by hand and a plain count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise.dissection import Status
from statewise.dissection.opening import opened

saturation = sw.dissection.saturation


def test_gates_set_by_their_biases():
    """One closed, one open, one in between: a third of each gate's units."""
    layer = torch.nn.LSTM(1, 3, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[3:6] = torch.tensor([-4.0, 4.0, 0.0])
        layer.bias_ih_l0[6] = 3.0  # g of one unit: tanh 3, slope .0099
    d = saturation(layer, np.zeros((2, 10, 1)))
    assert d.data["share"]["layer 0"]["f"] == pytest.approx(2 / 3)
    assert d.data["low"]["layer 0"]["f"] == d.data["high"]["layer 0"]["f"] == pytest.approx(1 / 3)
    assert d.data["flat"]["layer 0"]["g"] == pytest.approx(1 / 3)
    np.testing.assert_array_equal(d.data["by_unit"]["layer 0"]["f"], [1, 1, 0])
    assert d.data["share"]["layer 0"]["i"] == 0
    assert "layer 0, f: 67 %" in d.meaning
    assert d.plot().axes


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_shares_are_plain_counts(name):
    """Over a ragged batch of two layers, counted one number at a time."""
    torch.manual_seed(0)
    layer = getattr(torch.nn, name)(2, 4, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(6)
    x, lengths = np.random.default_rng(0).normal(size=(3, 80, 2)), torch.tensor([80, 70, 9])
    subject = opened(layer, x, lengths=lengths)
    d = saturation(subject)
    everything = []
    for label, system in subject.layers:
        for gate, values in system.gates.items():
            inside = [values[b, t] for b in range(3) for t in range(int(lengths[b]))]
            tanh = system.cell.activations[gate] == "tanh"
            out = [[(1 - v**2 < 0.05) if tanh else not 0.05 <= v <= 0.95 for v in row] for row in inside]
            assert d.data["share"][label][gate] == pytest.approx(np.mean(out))
            everything.append(np.mean(out))
    assert d.value == pytest.approx(np.mean(everything))
    assert d.value > 0.1


def test_relu_units_that_are_dead():
    layer = torch.nn.RNN(1, 4, nonlinearity="relu", batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih_l0[:] = torch.tensor([-1.0, -1.0, -1.0, 1.0])
    assert saturation(layer, np.zeros((1, 5, 1))).value == 0.75


def test_refused_where_only_jacobians_are_known():
    d = saturation(np.ones((5, 1, 1)))
    assert d.status is Status.REFUSED
